//! Catches panics that are findings, not failures of the harness: their message is kept and not printed.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    panic::UnwindSafe,
    sync::Once,
};

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
    static MESSAGE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// A panic that was caught.
#[derive(Debug)]
pub(crate) struct Panic {
    /// What was thrown.
    pub(crate) payload: Box<dyn Any + Send>,
    /// What it said, and where.
    pub(crate) message: String,
}

/// Runs `f`. Other threads' panics are printed as ever.
pub(crate) fn catch<R>(f: impl FnOnce() -> R + UnwindSafe) -> Result<R, Panic> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if CATCHING.get() {
                MESSAGE.set(Some(info.to_string()));
            } else {
                before(info);
            }
        }));
    });
    let outer = CATCHING.replace(true);
    MESSAGE.set(None);
    let result = std::panic::catch_unwind(f);
    CATCHING.set(outer);
    result.map_err(|payload| {
        let message =
            MESSAGE.take().unwrap_or_else(|| match payload.downcast_ref::<abide_pmem::sim::TooManyLoads>() {
                Some(loads) => loads.to_string(),
                None => "unwound without a message".into(),
            });
        Panic { payload, message }
    })
}
