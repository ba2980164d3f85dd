//! [`Topic`], and how one is followed.

use super::{FormOf, handle, millis};
use crate::mode::{Asynchronous, Blocking, Mode};
use abide_net::{CallError, Value};
use abide_schema::types::topic;
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, iter::FusedIterator, time::Duration, vec::IntoIter};

/// How many values a follower asks for at once.
const PAGE_VALUES: u32 = 1_000;

handle! {
    /// A shared log of values of the user's type, which any number of readers follow, each with a cursor of its own. It
    /// keeps the last 10,000 values unless created with another number.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), abide_client::CallError> {
    /// let news = abide_client::Store::current()?.topic::<String>("news");
    /// news.publish("the build is green")?;
    /// for value in news.follow(0) {
    ///     let (position, text) = value?; // waits when all were read
    ///     println!("{position}: {text}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub struct Topic<T> of topic, arguments;
}

/// What a subscriber reads at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPage<T> {
    /// Values with their positions.
    pub entries: Vec<(u64, T)>,
    /// The cursor to go on from.
    pub next: u64,
    /// How many values from the cursor on were forgotten before they could be read.
    pub missed: u64,
}

impl<T: Serialize + DeserializeOwned + 'static, M: Mode> Topic<T, M> {
    /// Adds a value, and returns its position. Positions begin at 0 and have no gaps.
    pub fn publish(&self, value: &(impl FormOf<T> + ?Sized)) -> M::Output<u64> {
        self.object.call(|| Ok(topic::Publish { value: Value::encode(value)? }), Ok)
    }

    /// At most `limit` values from the position `cursor` on. If there are none yet it waits for one. `Broken` if the topic is
    /// deleted meanwhile.
    pub fn subscribe(&self, cursor: u64, limit: u32) -> M::Output<TopicPage<T>> {
        self.object.call(|| Ok(topic::Subscribe { cursor, limit, timeout_ms: None }), decode_page)
    }

    /// As [`subscribe`](Self::subscribe), waiting for so long at most. `TimedOut` then.
    pub fn subscribe_timeout(&self, cursor: u64, limit: u32, timeout: Duration) -> M::Output<TopicPage<T>> {
        let timeout_ms = Some(millis(timeout));
        self.object.call(|| Ok(topic::Subscribe { cursor, limit, timeout_ms }), decode_page)
    }

    /// The last `n` values with their positions, as many as are kept.
    pub fn last(&self, n: u32) -> M::Output<Vec<(u64, T)>> {
        self.object.call(|| Ok(topic::Last { n }), decode_entries)
    }

    /// The position that the next value gets: the cursor of whoever wants to read what comes from now on.
    pub fn next_position(&self) -> M::Output<u64> {
        self.object.call(|| Ok(topic::NextPosition {}), Ok)
    }

    /// How many values are kept.
    pub fn len(&self) -> M::Output<u64> {
        self.object.call(|| Ok(topic::Len {}), Ok)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> M::Output<bool> {
        self.object.call(|| Ok(topic::Len {}), |len| Ok(len == 0))
    }

    /// The values from the position `cursor` on, without end: where there are none yet, it waits.
    pub fn follow(&self, cursor: u64) -> Follow<T, M> {
        let (topic, page) = (self.clone(), Vec::new().into_iter());
        Follow { topic, page, cursor, missed: 0, limit: PAGE_VALUES, is_over: false }
    }
}

/// The values of a [`Topic`], as they come. An error is the last item.
///
/// In the blocking mode it is an iterator, in the asynchronous one [`next`](Follow::next) is awaited.
#[must_use = "nothing is asked before the first `next`"]
pub struct Follow<T, M: Mode = Blocking> {
    topic: Topic<T, M>,
    page: IntoIter<(u64, T)>,
    cursor: u64,
    missed: u64,
    limit: u32,
    is_over: bool,
}

impl<T: Serialize + DeserializeOwned + 'static, M: Mode> Follow<T, M> {
    /// How many values were forgotten before they could be read, so far.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// What to give next, or nothing if another page has to be asked for.
    fn at_hand(&mut self) -> Option<Option<Result<(u64, T), CallError>>> {
        match self.page.next() {
            Some(entry) => Some(Some(Ok(entry))),
            None => self.is_over.then_some(None),
        }
    }

    fn ask(&self) -> M::Output<TopicPage<T>> {
        self.topic.subscribe(self.cursor, self.limit)
    }

    /// Takes a page in. An error is to be given.
    fn take(&mut self, answer: Result<TopicPage<T>, CallError>) -> Option<CallError> {
        match answer {
            Ok(page) => {
                (self.page, self.cursor) = (page.entries.into_iter(), page.next);
                self.missed += page.missed;
                None
            }
            // The values are large: fewer of them fit an answer.
            Err(CallError::TooLarge { .. }) if self.limit > 1 => {
                self.limit /= 2;
                None
            }
            Err(error) => {
                self.is_over = true;
                Some(error)
            }
        }
    }
}

impl<T: Serialize + DeserializeOwned + 'static> Iterator for Follow<T, Blocking> {
    type Item = Result<(u64, T), CallError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.at_hand() {
                return item;
            }
            let answer = self.ask();
            if let Some(error) = self.take(answer) {
                return Some(Err(error));
            }
        }
    }
}

impl<T: Serialize + DeserializeOwned + 'static> FusedIterator for Follow<T, Blocking> {}

impl<T: Serialize + DeserializeOwned + 'static> Follow<T, Asynchronous> {
    /// The next value with its position. Can be dropped at any time, and asked again: no value is lost.
    pub async fn next(&mut self) -> Option<Result<(u64, T), CallError>> {
        loop {
            if let Some(item) = self.at_hand() {
                return item;
            }
            let answer = self.ask().await;
            if let Some(error) = self.take(answer) {
                return Some(Err(error));
            }
        }
    }
}

impl<T, M: Mode> fmt::Debug for Follow<T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follow").field("topic", &self.topic).field("cursor", &self.cursor).finish()
    }
}

fn decode_page<T: DeserializeOwned>(page: abide_schema::TopicPage) -> Result<TopicPage<T>, CallError> {
    Ok(TopicPage { entries: decode_entries(page.entries)?, next: page.next, missed: page.missed })
}

fn decode_entries<T: DeserializeOwned>(entries: Vec<(u64, Value)>) -> Result<Vec<(u64, T)>, CallError> {
    entries.into_iter().map(|(position, value)| Ok((position, value.decode()?))).collect()
}
