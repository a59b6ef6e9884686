//! `SIGPIPE`, which must not end a process over a connection that its peer has closed.
//!
//! The default of a program that is not written in Rust is the signal, which ends it; Go ends by it too if the thread is not its own. What
//! the host does with the signal elsewhere is its own concern.

#[cfg(unix)]
pub(crate) use unix::{BrokenPipes, block_broken_pipe};

#[cfg(not(unix))]
pub(crate) use others::{BrokenPipes, block_broken_pipe};

#[cfg(unix)]
mod unix {
    use nix::sys::signal::{SIGPIPE, SigSet, SigmaskHow};

    /// Makes this thread of the client see a connection that its peer has closed as an error.
    pub(crate) fn block_broken_pipe() {
        // It fails for no set that holds known signals.
        let _ = broken_pipe().thread_block();
    }

    fn broken_pipe() -> SigSet {
        let mut signals = SigSet::empty();
        signals.add(SIGPIPE);
        signals
    }

    /// Blocks the signal on threads of the host while they work for the client.
    pub(crate) struct BrokenPipes(Pending);

    impl BrokenPipes {
        pub(crate) fn new() -> Self {
            Self(Pending::new())
        }

        /// Blocks the signal for this thread, as long as the result exists.
        pub(crate) fn block(&self) -> Blocked<'_> {
            let before = broken_pipe().thread_swap_mask(SigmaskHow::SIG_BLOCK);
            // Where it could not be blocked, there is nothing to undo.
            let was_blocked = before.map_or(true, |before| before.contains(SIGPIPE));
            Blocked { pending: &self.0, was_blocked }
        }
    }

    pub(crate) struct Blocked<'a> {
        pending: &'a Pending,
        was_blocked: bool,
    }

    impl Drop for Blocked<'_> {
        fn drop(&mut self) {
            // What a write has left pending would be delivered now. Where it cannot be taken, the signal stays blocked.
            if !self.was_blocked && self.pending.take() {
                let _ = broken_pipe().thread_unblock();
            }
        }
    }

    /// Takes signals that are pending for the thread that asks, and never waits.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    struct Pending(Option<nix::sys::signalfd::SignalFd>);

    #[cfg(any(target_os = "linux", target_os = "android"))]
    impl Pending {
        fn new() -> Self {
            use nix::sys::signalfd::{SfdFlags, SignalFd};
            Self(SignalFd::with_flags(&broken_pipe(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).ok())
        }

        /// Returns whether none is pending any more.
        fn take(&self) -> bool {
            self.0.as_ref().is_some_and(|pending| pending.read_signal().is_ok())
        }
    }

    /// Other systems have an option of the socket against the signal, which the standard library and tokio set.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    struct Pending;

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    impl Pending {
        fn new() -> Self {
            Self
        }

        fn take(&self) -> bool {
            true
        }
    }
}

#[cfg(not(unix))]
mod others {
    pub(crate) struct BrokenPipes;

    impl BrokenPipes {
        pub(crate) fn new() -> Self {
            Self
        }

        pub(crate) fn block(&self) {}
    }

    pub(crate) fn block_broken_pipe() {}
}
