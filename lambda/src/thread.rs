//! Spawning: what users call.

use crate::{
    backend::Backend,
    context::{CloudThreadId, Context},
    error::JoinError,
    function::CloudFunction,
    handle::{JoinHandle, Shared},
    limit::{Job, Limit},
    registry,
    retry::Retry,
    task::Task,
};
use abide_client::Store;
use std::{sync::Arc, time::Duration};

/// A function that runs elsewhere, like a thread, and shares objects rather than memory.
///
/// There is no value of this type: [`CloudThread::spawn`] gives a [`JoinHandle`], and the rest asks about the
/// cloud thread that is running.
#[derive(Debug)]
pub enum CloudThread {}

impl CloudThread {
    /// Runs `function(arguments...)` in a cloud thread, with the settings of [`Builder::new`].
    ///
    /// Returns at once. Whatever goes wrong, from an unregistered function to a panic, comes out of
    /// [`JoinHandle::join`]. Only what can never be a cloud function is refused at compile time:
    ///
    /// ```compile_fail,E0080
    /// # use abide_lambda::{CloudThread, cloud_function};
    /// # #[cloud_function]
    /// # fn f() -> Result<(), String> { Ok(()) }
    /// let pointer: fn() -> Result<(), String> = f;
    /// CloudThread::spawn(pointer, ()).join(); // spawn(f, ()) is right
    /// ```
    pub fn spawn<F, A>(function: F, arguments: A) -> JoinHandle<F::Value>
    where
        F: CloudFunction<A>,
    {
        Builder::new().spawn(function, arguments)
    }

    /// Settings for cloud threads.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The id of the cloud thread that is running, if this is one. It is the same in each attempt.
    pub fn id() -> Option<CloudThreadId> {
        Context::with(|context| context.id)
    }

    /// The name of the cloud thread that is running, if this is one.
    pub fn name() -> Option<String> {
        Context::with(|context| context.name.clone())
    }

    /// Which attempt this is, from 1. Also 1 where no cloud thread is running, so that a function which is
    /// called directly sees its first attempt.
    pub fn attempt() -> u32 {
        Context::with(|context| context.attempt).unwrap_or(1)
    }

    /// Whether [`JoinHandle::cancel`] was called for the cloud thread that is running. Only one that runs as a
    /// thread can see it: a process is killed instead.
    pub fn is_cancelled() -> bool {
        Context::with(|context| context.shared.as_ref().is_some_and(|shared| shared.is_cancelled()))
            .unwrap_or(false)
    }
}

/// Settings for cloud threads, for any number of them: [`spawn`](Builder::spawn) does not use it up.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    backend: Option<Backend>,
    name: Option<String>,
    store: StoreChoice,
    without_seed: bool,
    retry: Retry,
    limit: Option<Arc<Limit>>,
}

#[derive(Debug, Clone, Default)]
enum StoreChoice {
    /// The store that is current where the cloud thread is spawned, if there is one.
    #[default]
    Current,
    This(Store),
    Without,
}

impl Builder {
    /// The backend that `ABIDE_BACKEND` names, or threads; the store that is current in the spawning thread,
    /// if there is one; no retries.
    pub fn new() -> Self {
        Builder::default()
    }

    /// Where to run.
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = Some(backend);
        self
    }

    /// What the cloud thread is called, in logs and in the messages of panics. By default as its function.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The store that is current while the function runs. Each cloud thread gets a session of its own with it,
    /// closed when the function ends, so that what it holds is given back.
    pub fn store(mut self, store: &Store) -> Self {
        self.store = StoreChoice::This(store.clone());
        self
    }

    /// Opens no session and hands the function no store, even if the spawning thread has one. (On a thread, the
    /// function then still finds the process's default store; it just has no session of its own with it.)
    pub fn without_store(mut self) -> Self {
        self.store = StoreChoice::Without;
        self
    }

    /// How often a function that failed is run again; never, by default.
    ///
    /// A new attempt runs the function from its start with the same arguments, in the same session: calls on shared
    /// objects that an earlier attempt made are not made again, but answered as they were then
    /// ([`Store::with_seed`]). What an attempt held when it vanished or panicked (a lock, a permit), the next one holds. So an
    /// attempt takes over where the last one failed, and each call is made once, if
    /// - what the function calls follows from its arguments and from the answers that it gets: no clocks, no random numbers, not
    ///   [`CloudThread::attempt`] (a call other than that of the attempt before at this point is `BadArgument`); and if it
    ///   returns an error, then before it calls anything else. A guard that is dropped on the way gives back, and that is
    ///   a call; while the function panics, no calls are made.
    /// - its calls are made one after the other, by one thread.
    ///
    /// An error that is the answer to a call is remembered too: the next attempt gets it again. Cloud threads that the function
    /// spawns are new ones in each attempt.
    ///
    /// For functions that are made otherwise there is [`without_seed`](Builder::without_seed).
    pub fn retries(mut self, retries: u32) -> Self {
        self.retry.retries = retries;
        self
    }

    /// Gives each attempt a session of its own, so that a retry repeats the calls on shared objects that the failed
    /// attempt made before it failed: it increments again what that one incremented.
    ///
    /// For functions that may run twice, because their calls can be repeated (`set`, `insert`), or because they look up
    /// how far they came (in a shared iteration counter, say) and go on from there. The function sees the
    /// number of its attempt as [`CloudThread::attempt`].
    pub fn without_seed(mut self) -> Self {
        self.without_seed = true;
        self
    }

    /// How long to wait before each retry; 100 ms by default.
    pub fn retry_delay(mut self, delay: Duration) -> Self {
        self.retry.delay = delay;
        self
    }

    /// Which errors to retry; those that are [`JoinError::is_retryable`] by default. To retry only when the
    /// process died, say: `|error| matches!(error, JoinError::Exited { .. })`.
    pub fn retry_if(mut self, when: impl Fn(&JoinError) -> bool + Send + Sync + 'static) -> Self {
        self.retry.when = Arc::new(when);
        self
    }

    /// How many of the cloud threads that this builder and its clones spawn may run at once, at least 1; the
    /// others wait for a place. By default threads are not limited, and of processes
    /// [`PROCESSES_MAX`](crate::PROCESSES_MAX) run at once in the whole program.
    ///
    /// Cloud threads that wait for each other, at a barrier, must all run at once: with a smaller limit they
    /// wait for ever.
    pub fn max_concurrency(mut self, max: usize) -> Self {
        self.limit = Some(Limit::new(max));
        self
    }

    /// Runs `function(arguments...)` in a cloud thread; as [`CloudThread::spawn`].
    pub fn spawn<F, A>(&self, function: F, arguments: A) -> JoinHandle<F::Value>
    where
        F: CloudFunction<A>,
    {
        const {
            assert!(
                size_of::<F>() == 0,
                "a cloud thread runs a function that is named here, not a pointer to one or a closure"
            );
        }
        let id = CloudThreadId::next();
        let named = |default: &str| self.name.clone().unwrap_or_else(|| default.to_owned());
        let prepared = self.prepare(id, &function, &arguments, named);
        match prepared {
            Ok((backend, task)) => {
                let shared = Shared::new(id, task.name.clone());
                self.submit(&backend, task, Arc::clone(&shared));
                JoinHandle::new(shared)
            }
            Err(error) => {
                let shared = Shared::new(id, named(std::any::type_name::<F>()));
                shared.finish(Err(error));
                JoinHandle::new(shared)
            }
        }
    }

    fn prepare<F, A>(
        &self,
        id: CloudThreadId,
        function: &F,
        arguments: &A,
        named: impl FnOnce(&str) -> String,
    ) -> Result<(Backend, Task), JoinError>
    where
        F: CloudFunction<A>,
    {
        let entry = registry::find(function)?;
        let backend = self.backend.clone().map_or_else(Backend::from_env, Ok)?;
        let store = match &self.store {
            StoreChoice::Current => Store::current().ok(),
            StoreChoice::This(store) => Some(store.clone()),
            StoreChoice::Without => None,
        };
        let name = named(entry.name().rsplit("::").next().expect("rsplit gives at least one part"));
        let is_seeded = self.retry.retries > 0 && !self.without_seed;
        Ok((backend, Task { entry, id, name, store, is_seeded, arguments: F::encode(arguments)? }))
    }

    fn submit(&self, backend: &Backend, task: Task, shared: Arc<Shared>) {
        let executor = backend.executor();
        let limit = self.limit.as_ref().unwrap_or_else(|| backend.limit());
        let retry = self.retry.clone();
        let work = {
            let shared = Arc::clone(&shared);
            Box::new(move || {
                let outcome = retry.run(&shared, |attempt| executor.execute(&task, attempt, &shared));
                if outcome.is_err() {
                    task.end();
                }
                outcome
            })
        };
        limit.submit(Job { shared, work });
    }
}
