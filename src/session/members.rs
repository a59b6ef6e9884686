//! The attested keys of a session, and the ones that were refused.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use reqwest::Client;
use tokio::sync::Mutex as AsyncMutex;

use super::life::Life;
use super::line::Line;
use super::standing::Standing;
use crate::attested::Attested;
use crate::clock::Clock;
use crate::error::{AttestationError, Category};
use crate::observe;
use crate::snp::ReportError;
use crate::types::SpkiDigest;

/// The most attested keys of a session: replicas of one deployment, and those that restarts left over. Beyond it the key that
/// was of no use for the longest time makes room.
const MAX_KEYS: usize = 64;

/// How many keys that are not attested yet a session may meet within [`A_MINUTE`]: stops someone on the path who shows a
/// new key each time and has us ask for evidence without end.
const MAX_NEW_KEYS: usize = 120;
const A_MINUTE: Duration = Duration::from_secs(60);

/// How long a refused key is refused from memory, and how many are remembered.
const REMEMBERED: Duration = Duration::from_secs(30);
const MAX_REMEMBERED: usize = 256;

/// How long the connection that evidence came over takes at most to be free for the application.
pub(super) const AFTER_ATTESTATION: Duration = Duration::from_millis(250);

/// An attested key, or the one peer of a session that is not bound to keys.
#[derive(Debug)]
pub(super) struct Member {
    line: Option<Line>,
    client: Client,
    standing: Arc<Standing>,
    used: Mutex<Instant>,
    /// Held by the task that renews.
    pub(super) renewal: AsyncMutex<Renewal>,
}

/// What came of the last attempt to renew an attestation.
#[derive(Debug, Default)]
pub(super) struct Renewal {
    /// When the next one may be made.
    pub(super) paused_until: Option<Instant>,
    /// There was no connection to ask over. The next one that is opened will do.
    pub(super) unasked: bool,
}

impl Member {
    pub(super) fn key(&self) -> Option<SpkiDigest> {
        self.standing.key()
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }

    pub(super) fn life(&self) -> Life {
        self.standing.life()
    }

    /// As [`Line::expect_back`].
    pub(super) fn expect_back(&self, within: Duration) {
        if let Some(line) = &self.line {
            line.expect_back(within);
        }
    }

    /// As [`Line::misses`].
    pub(super) fn misses(&self) -> u64 {
        self.line.as_ref().map_or(0, Line::misses)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Members {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    members: Vec<Arc<Member>>,
    /// Of keys that left without a refusal, while something is under way with them: one may come yet.
    departed: Vec<Weak<Standing>>,
    latest: Option<Arc<Attested>>,
    refused: Vec<(Option<SpkiDigest>, Instant, AttestationError)>,
    met: Vec<(SpkiDigest, Instant)>,
    poisoned: Option<&'static str>,
    /// Counts connections that came in.
    connections: u64,
}

impl State {
    fn depart(&mut self, member: &Member) {
        self.departed.retain(|standing| standing.strong_count() > 0);
        self.departed.push(Arc::downgrade(&member.standing));
    }

    /// What is still under way with a key that left.
    fn departed_of(&self, key: Option<SpkiDigest>) -> impl Iterator<Item = Arc<Standing>> {
        self.departed.iter().filter_map(Weak::upgrade).filter(move |standing| standing.key() == key)
    }

    /// Lets the key go that was of no use for the longest time; false if all of them are in use.
    fn make_room(&mut self) -> bool {
        let unused = self.members.iter().enumerate().filter(|(_, member)| !member.standing.is_in_use());
        let Some(at) = unused.min_by_key(|(_, member)| *lock(&member.used)).map(|(at, _)| at) else { return false };
        let member = self.members.swap_remove(at);
        self.depart(&member);
        true
    }
}

impl Members {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// An error if the session is closed until [`Members::join`].
    pub(super) fn check_not_poisoned(&self) -> Result<(), AttestationError> {
        lock(&self.state).poisoned.map_or(Ok(()), |cause| Err(AttestationError::SessionPoisoned { cause }))
    }

    /// Those whose attestation holds. The others are dropped, and with them the connections that wait in their pools.
    pub(super) fn holding(&self) -> Vec<Arc<Member>> {
        let mut state = lock(&self.state);
        let ended = |member: &mut Arc<Member>| !member.life().holds(&self.clock);
        let ended: Vec<_> = state.members.extract_if(.., ended).collect();
        for member in &ended {
            state.depart(member);
        }
        let members = state.members.clone();
        drop(state);
        observe::expired(ended.len(), members.len());
        for line in members.iter().filter_map(|member| member.line.as_ref()) {
            line.drop_stale();
        }
        members
    }

    pub(super) fn find(&self, key: Option<SpkiDigest>) -> Option<Arc<Member>> {
        self.holding().into_iter().find(|member| member.key() == key)
    }

    pub(super) fn latest(&self) -> Option<Arc<Attested>> {
        lock(&self.state).latest.clone()
    }

    pub(super) fn connections(&self) -> u64 {
        lock(&self.state).connections
    }

    /// A member has answered: it is asked first next time.
    pub(super) fn answered(&self, member: &Arc<Member>) {
        let mut state = lock(&self.state);
        if let Some(at) = state.members.iter().position(|other| Arc::ptr_eq(other, member)) {
            state.members.swap(0, at);
            *lock(&member.used) = Instant::now();
        }
    }

    /// Another connection of an attested key.
    pub(super) fn reinforce(&self, member: &Member, line: &Line) {
        if let Some(own) = &member.line {
            own.take_over(line);
        }
        let mut state = lock(&self.state);
        state.connections = state.connections.wrapping_add(1);
    }

    /// A peer has been attested: it joins, or goes on with its new attestation.
    ///
    /// A session that was closed meanwhile stays so, unless it was to be opened again.
    pub(super) fn join(
        &self,
        (line, client): (Option<Line>, Client),
        life: Life,
        reopens: bool,
    ) -> Result<Arc<Member>, AttestationError> {
        let key = line.as_ref().map(Line::key);
        if let Some(line) = &line {
            line.expect_back(AFTER_ATTESTATION);
        }
        let mut state = lock(&self.state);
        if let (Some(cause), false) = (state.poisoned, reopens) {
            return Err(AttestationError::SessionPoisoned { cause });
        }
        // Whoever holds back an answer from before a refusal gains nothing by it.
        let is_older = |since: &Instant| !life.begun().is_after(*since);
        let refused = state.refused.iter().find(|(refused, since, _)| *refused == key && is_older(since));
        if let Some((.., error)) = refused {
            return Err(error.clone());
        }
        state.poisoned = None;
        // What it has begun before goes on: it is the same peer, and attested.
        for standing in state.departed_of(key) {
            standing.renew(life.clone());
        }
        state.latest = Some(Arc::clone(life.attested()));
        state.connections = state.connections.wrapping_add(1);
        state.refused.retain(|(refused, ..)| *refused != key);
        if let Some(member) = state.members.iter().find(|member| member.key() == key) {
            member.standing.renew(life);
            if let (Some(own), Some(line)) = (&member.line, &line) {
                own.take_over(line);
            }
            member.expect_back(AFTER_ATTESTATION);
            return Ok(Arc::clone(member));
        }
        if state.members.len() >= MAX_KEYS && !state.make_room() {
            return Err(AttestationError::TooManyUnattestedPeers { why: "the session has 64 attested keys in use" });
        }
        let standing = Arc::new(Standing::new(key, life, self.clock.clone()));
        let (used, renewal) = (Mutex::new(Instant::now()), AsyncMutex::default());
        let member = Arc::new(Member { line, client, standing, used, renewal });
        state.members.push(Arc::clone(&member));
        let keys = state.members.len();
        drop(state);
        observe::joined(key, keys);
        Ok(member)
    }

    /// A member goes on with its new attestation, unless it was refused meanwhile.
    pub(super) fn renew(&self, member: &Member, life: Life) {
        let mut state = lock(&self.state);
        if member.standing.refusal().is_none() {
            state.latest = Some(Arc::clone(life.attested()));
        }
        member.standing.renew(life);
    }

    /// A peer was not attested. If that is a verdict on it, then it is out: its connections are closed, what it is about to
    /// answer is cancelled, and a session without any other is closed.
    pub(super) fn leave(&self, key: Option<SpkiDigest>, error: &AttestationError) {
        if !is_verdict(error) {
            return;
        }
        let mut state = lock(&self.state);
        state.refused.retain(|(refused, since, _)| *refused != key && since.elapsed() < REMEMBERED);
        if state.refused.len() >= MAX_REMEMBERED {
            state.refused.remove(0);
        }
        state.refused.push((key, Instant::now(), error.clone()));
        let out: Vec<_> = state.members.extract_if(.., |member| member.key() == key).collect();
        for standing in state.departed_of(key).chain(out.iter().map(|member| Arc::clone(&member.standing))) {
            standing.refuse(error);
        }
        if !out.is_empty() && state.members.is_empty() {
            state.poisoned = Some(error.code());
        }
        let keys = state.members.len();
        drop(state);
        observe::refused(key, error, !out.is_empty(), keys);
    }

    /// Whether a key that is not attested may be asked for evidence.
    pub(super) fn may_ask(&self, key: SpkiDigest) -> Result<(), AttestationError> {
        let mut state = lock(&self.state);
        let refused =
            state.refused.iter().find(|(refused, since, _)| *refused == Some(key) && since.elapsed() < REMEMBERED);
        if let Some((.., error)) = refused {
            return Err(error.clone());
        }
        state.met.retain(|(_, since)| since.elapsed() < A_MINUTE);
        // Requests that meet the same key count once, or an outage of its agent would outlast itself.
        if state.met.iter().any(|(met, _)| *met == key) {
            return Ok(());
        }
        if state.met.len() >= MAX_NEW_KEYS {
            return Err(AttestationError::TooManyUnattestedPeers {
                why: "more than 120 keys that are not attested were shown within a minute",
            });
        }
        state.met.push((key, Instant::now()));
        Ok(())
    }
}

/// Whether an error says something of the peer, and not of the way to a verdict. A key set that cannot be read is the MAA
/// instance's own affair, as one that cannot be fetched; and so is a bad revocation list that of AMD's service or a mirror.
pub(super) fn is_verdict(error: &AttestationError) -> bool {
    use AttestationError::{InvalidKeySet, InvalidReport};
    !matches!(error, InvalidKeySet(_) | InvalidReport(ReportError::Crl(_)))
        && matches!(error.category(), Category::Rejected | Category::Untrusted)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
