//! Handles that end calls from another thread.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use blindbox_facade::{self as facade, Error};

use crate::call::{call, quiet};
use crate::error::bb_error;
use crate::pointer::given;

/// Ends calls from another thread. One handle may be given to many calls, at the same time and one after another. It has a count
/// of references: it is freed with the last of them.
pub struct bb_cancel(Arc<Shared>);

struct Shared {
    triggered: AtomicBool,
    calls: Mutex<Calls>,
    process: u32,
}

#[derive(Default)]
struct Calls {
    next: u64,
    running: HashMap<u64, Weak<facade::Cancel>>,
}

impl Default for bb_cancel {
    fn default() -> Self {
        let calls = Mutex::default();
        Self(Arc::new(Shared { triggered: AtomicBool::new(false), calls, process: process::id() }))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl bb_cancel {
    /// Checks that work may start.
    pub(crate) fn check(&self) -> Result<(), Error> {
        // Its lock may have been held during the fork, and the parent would never trigger it.
        if self.0.process != process::id() {
            return Err(Error::forked());
        }
        if self.is_triggered() { Err(Error::cancelled_unsent()) } else { Ok(()) }
    }

    fn is_triggered(&self) -> bool {
        self.0.triggered.load(Ordering::SeqCst)
    }

    pub(crate) fn trigger(&self) {
        self.0.triggered.store(true, Ordering::SeqCst);
        // In a forked child, another thread of the parent may have held the lock, and there is no work to end.
        if self.0.process != process::id() {
            return;
        }
        let running: Vec<_> = self.0.lock().running.drain().collect();
        for call in running.iter().filter_map(|(_, call)| call.upgrade()) {
            call.cancel();
        }
    }

    /// Ends the work when this handle is triggered, as long as the registration exists.
    pub(crate) fn register(&self, work: &Arc<facade::Cancel>) -> Registration {
        let mut calls = self.0.lock();
        let number = calls.next;
        calls.next = calls.next.wrapping_add(1);
        calls.running.insert(number, Arc::downgrade(work));
        drop(calls);
        // It may have been triggered before the work was in the table.
        if self.is_triggered() {
            work.cancel();
        }
        Registration { shared: Arc::clone(&self.0), number }
    }
}

/// Work in the table of a handle.
pub(crate) struct Registration {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        if self.shared.process == process::id() {
            self.shared.lock().running.remove(&self.number);
        }
    }
}

/// Creates a handle with one reference.
///
/// @param cancel receives the handle; give its reference back with `bb_cancel_release`.
/// @param error NULL, or receives the error; free it with `bb_error_free`.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn bb_cancel_new(
    cancel: Option<&mut MaybeUninit<*mut bb_cancel>>,
    error: Option<&mut MaybeUninit<*mut bb_error>>,
) -> u32 {
    call(error, || {
        given("cancel", cancel)?.write(Arc::into_raw(Arc::new(bb_cancel::default())).cast_mut());
        Ok(())
    })
}

/// Adds a reference: the handle exists until each was given back. A thread that triggers a handle should have one of its own.
///
/// @param cancel NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bb_cancel_retain(cancel: *mut bb_cancel) {
    if !cancel.is_null() {
        // SAFETY: the caller promises a handle of `bb_cancel_new`, which makes it with `Arc::into_raw`, and a reference to it.
        unsafe { Arc::increment_strong_count(cancel) };
    }
}

/// Gives a reference back. Ends no call.
///
/// @param cancel NULL does nothing; it must not be used any more through this reference.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bb_cancel_release(cancel: *mut bb_cancel) {
    if !cancel.is_null() {
        // SAFETY: the caller promises a handle of `bb_cancel_new`, which makes it with `Arc::into_raw`, and gives up a reference.
        let reference = unsafe { Arc::from_raw(cancel) };
        quiet(|| drop(reference));
    }
}

/// Ends every call that has the handle, now and from now on: they fail with `BB_CANCELLED`. The peer may have received a request that
/// is cancelled. Returns at once.
///
/// @param cancel NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn bb_cancel_trigger(cancel: Option<&bb_cancel>) {
    quiet(|| {
        if let Some(cancel) = cancel {
            cancel.trigger();
        }
    });
}
