//! [`Exchanger`], [`Event`] and [`Rendezvous`].

use super::{FormOf, Paged, handle, millis};
use crate::mode::{Blocking, Mode};
use abide_net::Value;
use abide_schema::{
    Page,
    types::{event, exchanger, rendezvous},
};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;

handle! {
    /// A place where two callers swap values of the user's type.
    pub struct Exchanger<T> of exchanger;
}

impl<T: Serialize + DeserializeOwned + 'static, M: Mode> Exchanger<T, M> {
    /// Gives a value to the next who comes, and returns that one's. `Broken` if the exchanger is deleted meanwhile.
    pub fn exchange(&self, value: &(impl FormOf<T> + ?Sized)) -> M::Output<T> {
        let make = || Ok(exchanger::Exchange { value: Value::encode(value)?, timeout_ms: None });
        self.object.call(make, |value| value.decode())
    }

    /// As [`exchange`](Self::exchange), waiting for so long at most. `TimedOut` then, and nobody got the value.
    pub fn exchange_timeout(&self, value: &(impl FormOf<T> + ?Sized), timeout: Duration) -> M::Output<T> {
        let timeout_ms = Some(millis(timeout));
        let make = || Ok(exchanger::Exchange { value: Value::encode(value)?, timeout_ms });
        self.object.call(make, |value| value.decode())
    }

    /// How many wait: none or one.
    pub fn waiting(&self) -> M::Output<u64> {
        self.object.call(|| Ok(exchanger::Waiting {}), Ok)
    }
}

handle! {
    /// A shared flag that callers wait for, not set at first unless created so.
    pub struct Event of event, arguments;
}

impl<M: Mode> Event<M> {
    /// Sets it, and lets all go that wait. Says whether it was not set.
    pub fn set(&self) -> M::Output<bool> {
        self.object.call(|| Ok(event::Set {}), Ok)
    }

    /// Clears it. Says whether it was set.
    pub fn clear(&self) -> M::Output<bool> {
        self.object.call(|| Ok(event::Clear {}), Ok)
    }

    /// Waits until it is set. `Broken` if the event is deleted meanwhile.
    pub fn wait(&self) -> M::Output<()> {
        self.object.call(|| Ok(event::Await { timeout_ms: None }), Ok)
    }

    /// As [`wait`](Self::wait), for so long at most. `TimedOut` then.
    pub fn wait_timeout(&self, timeout: Duration) -> M::Output<()> {
        self.object.call(|| Ok(event::Await { timeout_ms: Some(millis(timeout)) }), Ok)
    }

    /// Whether it is set.
    pub fn is_set(&self) -> M::Output<bool> {
        self.object.call(|| Ok(event::IsSet {}), Ok)
    }
}

handle! {
    /// Names, and the addresses that sessions publish under them until they end.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// let peers = abide_client::Store::current()?.rendezvous("peers");
    /// peers.publish("worker 3", "10.0.0.7:4000")?;
    /// let other = peers.lookup("worker 4")?; // waits until it is there
    /// # Ok(())
    /// # }
    /// ```
    pub struct Rendezvous of rendezvous;
}

impl<M: Mode> Rendezvous<M> {
    /// Publishes an address under a name (1 to 512 bytes). `Denied` if another session has it.
    pub fn publish(&self, name: &str, address: &str) -> M::Output<()> {
        let (name, address) = (name.to_owned(), address.to_owned());
        self.object.call(|| Ok(rendezvous::Publish { name, address }), Ok)
    }

    /// Takes an address of this session back. Says whether there was one.
    pub fn withdraw(&self, name: &str) -> M::Output<bool> {
        self.object.call(|| Ok(rendezvous::Withdraw { name: name.to_owned() }), Ok)
    }

    /// The address under a name, waiting for somebody to publish it. `Broken` if the rendezvous is deleted meanwhile.
    pub fn lookup(&self, name: &str) -> M::Output<String> {
        self.object.call(|| Ok(rendezvous::Lookup { name: name.to_owned(), timeout_ms: None }), Ok)
    }

    /// As [`lookup`](Self::lookup), waiting for so long at most. `TimedOut` then.
    pub fn lookup_timeout(&self, name: &str, timeout: Duration) -> M::Output<String> {
        let timeout_ms = Some(millis(timeout));
        self.object.call(|| Ok(rendezvous::Lookup { name: name.to_owned(), timeout_ms }), Ok)
    }

    /// At most `limit` names with their addresses, in the order of the names: those after one, or from the first on. `next` is
    /// the name to go on after.
    pub fn names_page(&self, after: Option<&str>, limit: u32) -> M::Output<Page<(String, String), String>> {
        let after = after.map(str::to_owned);
        self.object.call(|| Ok(rendezvous::Names { after, limit }), Ok)
    }
}

impl Rendezvous<Blocking> {
    /// The names with their addresses, fetched [page by page](Rendezvous::names_page).
    pub fn names(&self) -> Paged<(String, String)> {
        let rendezvous = self.clone();
        Paged::new(move |after: Option<&String>, limit| {
            rendezvous.names_page(after.map(String::as_str), limit)
        })
    }
}
