//! Random bytes that a host gives for one call, for modules without a source of their own.
//!
//! They are used in their order, each once, and wiped. There is no seed, and nothing is derived from them: a call that needs more than
//! it was given fails.

use std::cell::RefCell;
use std::collections::VecDeque;

use zeroize::Zeroizing;

use super::{NoRandomness, sha256};

/// How many random bytes a host gives for one call: what one message takes is two keys.
pub const HOST_RANDOM_LEN: usize = 64;

/// How many earlier ones are known, by their digests. A generator that has failed gives the same again at once, or after a restart.
const REMEMBERED: usize = 1024;

thread_local! {
    static GIVEN: RefCell<Option<Given>> = const { RefCell::new(None) };
    static EARLIER: RefCell<VecDeque<[u8; 32]>> = const { RefCell::new(VecDeque::new()) };
}

struct Given {
    bytes: Zeroizing<Vec<u8>>,
    used: usize,
}

/// What became of a request for random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Filled,
    TooFew,
    /// The host gives none for this call.
    NoneGiven,
}

/// Runs work with random bytes of the host. Refuses those that are no [`HOST_RANDOM_LEN`] bytes, were given before, or consist of one
/// byte.
pub(crate) fn with_host_random<T>(bytes: Zeroizing<Vec<u8>>, work: impl FnOnce() -> T) -> Result<T, NoRandomness> {
    let constant = bytes.iter().all(|byte| Some(byte) == bytes.first());
    if bytes.len() != HOST_RANDOM_LEN || constant || !is_new(sha256(&bytes)) {
        return Err(NoRandomness);
    }
    GIVEN.set(Some(Given { bytes, used: 0 }));
    let _end = End;
    Ok(work())
}

fn is_new(digest: [u8; 32]) -> bool {
    EARLIER.with_borrow_mut(|earlier| {
        let new = !earlier.contains(&digest);
        if new {
            earlier.truncate(REMEMBERED.saturating_sub(1));
            earlier.push_front(digest);
        }
        new
    })
}

/// Wipes what was not used, after a panic too.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        GIVEN.set(None);
    }
}

pub(super) fn take(out: &mut [u8]) -> Taken {
    GIVEN.with_borrow_mut(|given| {
        let Some(given) = given else { return Taken::NoneGiven };
        let end = given.used.saturating_add(out.len());
        let Some(bytes) = given.bytes.get(given.used..end) else { return Taken::TooFew };
        out.copy_from_slice(bytes);
        given.used = end;
        Taken::Filled
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(first: u8) -> Zeroizing<Vec<u8>> {
        Zeroizing::new((0..64).map(|at| at ^ first).collect())
    }

    #[test]
    fn each_byte_is_used_once() {
        let mut drawn = [[0; 24]; 3];
        let taken = with_host_random(bytes(0), || drawn.each_mut().map(|out| take(out))).unwrap();
        assert_eq!(taken, [Taken::Filled, Taken::Filled, Taken::TooFew]);
        assert_eq!(drawn.as_flattened()[..48], bytes(0)[..48]);
        // What is left is gone after the call.
        assert_eq!(take(&mut [0; 8]), Taken::NoneGiven);
    }

    #[test]
    fn what_is_missing_short_long_repeated_or_constant_is_refused() {
        let refused = |bytes: Vec<u8>| with_host_random(Zeroizing::new(bytes), || ()).err();
        for len in [0, 32, 63, 65] {
            assert_eq!(refused((0..len).collect()), Some(NoRandomness), "{len}");
        }
        assert_eq!(refused(vec![0; 64]), Some(NoRandomness));
        assert_eq!(refused(vec![0xa5; 64]), Some(NoRandomness));
        assert_eq!(refused(bytes(1).to_vec()), None);
        assert_eq!(refused(bytes(2).to_vec()), None);
        assert_eq!(refused(bytes(1).to_vec()), Some(NoRandomness));
        for number in 0..1024_u16 {
            assert_eq!(
                refused([number.to_be_bytes(); 32].concat()),
                if number % 257 == 0 { Some(NoRandomness) } else { None }
            );
        }
        assert_eq!(refused(vec![0; 64]), Some(NoRandomness));
    }

    #[test]
    fn a_panic_leaves_nothing() {
        let panicked = std::panic::catch_unwind(|| with_host_random(bytes(3), || panic!("in the call")));
        assert!(panicked.is_err());
        assert_eq!(take(&mut [0; 8]), Taken::NoneGiven);
    }
}
