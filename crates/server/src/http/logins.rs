//! Credentials that are known to be right, and a bound on wrong ones.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use eqlipse_control::Identity;
use sha2::{Digest, Sha256};

use crate::config::AuthConfig;

/// Credentials kept at a time; those that were checked longest ago go first.
const MAX_KNOWN: usize = 10_000;

/// How long credentials that were right may be checked again whatever failed meanwhile: somebody with a wrong password
/// must not lock out all who share an address or a user with them.
const RIGHT_TIME: Duration = Duration::from_secs(24 * 3600);

/// Checks that are remembered before those are forgotten that nobody is at any more: there are never more of the others
/// than connections.
const MAX_TURNS: usize = 1_000;

/// Addresses and users whose failures are counted at a time; those whose window ends first go first.
const MAX_COUNTED: usize = 10_000;

/// Logins.
///
/// A password's hash is made to take long; a shipper sends its password with every request. So what was right is known
/// for `auth.cache_time`, by a hash with a key that lives as long as the process.
pub struct Logins {
    key: [u8; 32],
    failures: u32,
    window: Duration,
    cache_time: Duration,
    known: Mutex<HashMap<Fingerprint, Known>>,
    /// Until when credentials count as right once. They may be right no more: they are checked.
    right: Mutex<HashMap<Fingerprint, Instant>>,
    /// How often all were forgotten; changes while `known` is locked.
    changes: AtomicU64,
    counted: Mutex<HashMap<Source, Counted>>,
    checks: Mutex<HashMap<Fingerprint, Turn>>,
}

/// Held by the request that checks certain credentials; others with the same wait for what it finds.
pub(crate) type Turn = Arc<tokio::sync::Mutex<()>>;

/// Stands for credentials in memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fingerprint([u8; 32]);

struct Known {
    identity: Identity,
    until: Instant,
}

/// Whose failures are counted.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Source {
    /// An address; of version 6, the network that one customer has.
    Address(IpAddr),
    /// A user's or an API key's name, whether there is one or not.
    Name(String),
}

struct Counted {
    failures: u32,
    until: Instant,
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logins").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Logins {
    /// Nobody is known yet.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn new(config: &AuthConfig) -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self {
            key,
            failures: config.login_failures,
            window: config.login_window.0,
            cache_time: config.cache_time.0,
            known: Mutex::default(),
            right: Mutex::default(),
            changes: AtomicU64::new(0),
            counted: Mutex::default(),
            checks: Mutex::default(),
        })
    }

    /// Forgets all credentials: users or keys were changed.
    pub fn forget(&self) {
        let mut known = lock(&self.known);
        self.changes.fetch_add(1, Ordering::Relaxed);
        known.clear();
    }

    /// How often credentials were forgotten. Who checks some takes it before, for [`Self::remember`].
    pub(crate) fn changes(&self) -> u64 {
        let _known = lock(&self.known);
        self.changes.load(Ordering::Relaxed)
    }

    pub(crate) fn fingerprint(&self, scheme: &str, credentials: &[u8]) -> Fingerprint {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(scheme.as_bytes());
        hash.update([0]);
        hash.update(credentials);
        Fingerprint(hash.finalize().into())
    }

    pub(crate) fn known(&self, fingerprint: Fingerprint) -> Option<Identity> {
        let known = lock(&self.known);
        known.get(&fingerprint).filter(|known| known.until > Instant::now()).map(|known| known.identity.clone())
    }

    /// Remembers credentials that were right at `changes`, unless users or keys were changed since: a check takes long, and
    /// what it read may hold no more.
    pub(crate) fn remember(&self, fingerprint: Fingerprint, identity: &Identity, changes: u64) {
        put_bounded(&mut lock(&self.right), fingerprint, Instant::now() + RIGHT_TIME, MAX_KNOWN, |until| *until);
        let mut known = lock(&self.known);
        if !self.cache_time.is_zero() && self.changes.load(Ordering::Relaxed) == changes {
            let new = Known { identity: identity.clone(), until: Instant::now() + self.cache_time };
            put_bounded(&mut known, fingerprint, new, MAX_KNOWN, |known| known.until);
        }
    }

    /// Whose turn it is to check credentials. A shipper opens many connections at once, all with the same password, which
    /// takes long to hash: it is done once.
    pub(crate) fn turn(&self, fingerprint: Fingerprint) -> Turn {
        let mut checks = lock(&self.checks);
        if checks.len() >= MAX_TURNS {
            checks.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        checks.entry(fingerprint).or_default().clone()
    }

    /// Whether credentials were right, not too long ago, and not wrong since.
    pub(crate) fn was_right(&self, fingerprint: Fingerprint) -> bool {
        lock(&self.right).get(&fingerprint).is_some_and(|until| *until > Instant::now())
    }

    /// Says how long a login from these sources has to wait, if it has.
    pub(crate) fn wait(&self, sources: &[Source]) -> Option<Duration> {
        let now = Instant::now();
        let counted = lock(&self.counted);
        let wait = |source: &Source| {
            let counted = counted.get(source).filter(|counted| counted.failures >= self.failures)?;
            counted.until.checked_duration_since(now).filter(|left| !left.is_zero())
        };
        sources.iter().filter_map(wait).max()
    }

    /// Counts a failure.
    pub(crate) fn failed(&self, fingerprint: Fingerprint, sources: &[Source]) {
        lock(&self.right).remove(&fingerprint);
        let now = Instant::now();
        let mut counted = lock(&self.counted);
        for source in sources {
            match counted.get_mut(source).filter(|counted| counted.until > now) {
                Some(known) => known.failures = known.failures.saturating_add(1),
                None => {
                    let first = Counted { failures: 1, until: now + self.window };
                    put_bounded(&mut counted, source.clone(), first, MAX_COUNTED, |counted| counted.until);
                }
            }
        }
    }
}

impl Source {
    pub(crate) fn address(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => {
                let segments = address.segments();
                IpAddr::from([segments[0], segments[1], segments[2], segments[3], 0, 0, 0, 0])
            }
            version_4 => version_4,
        })
    }

    pub(crate) fn name(name: &str) -> Self {
        // As much as tells names apart; a request could be megabytes of name otherwise.
        Self::Name(name.chars().take(128).collect())
    }
}

/// Inserts, making room first: what is over goes, then the tenth that is over first.
fn put_bounded<K: Eq + Hash + Clone, V>(
    map: &mut HashMap<K, V>,
    key: K,
    value: V,
    most: usize,
    until: fn(&V) -> Instant,
) {
    if map.len() >= most && !map.contains_key(&key) {
        let now = Instant::now();
        map.retain(|_, value| until(value) > now);
        if map.len() >= most {
            let mut ends: Vec<Instant> = map.values().map(until).collect();
            ends.sort_unstable();
            let end = ends[most / 10];
            map.retain(|_, value| until(value) > end);
        }
    }
    map.insert(key, value);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::Time;

    fn logins(failures: u32, window: Duration) -> Logins {
        let config = AuthConfig { login_failures: failures, login_window: Time(window), ..AuthConfig::default() };
        Logins::new(&config).unwrap()
    }

    #[test]
    fn failures_are_counted_for_addresses_and_names() {
        let logins = logins(3, Duration::from_secs(60));
        let address = |text: &str| Source::address(text.parse().unwrap());
        let (here, there) = (address("10.0.0.1"), address("10.0.0.2"));
        let guess = logins.fingerprint("basic", b"eve:guess");
        for _ in 0..3 {
            assert!(logins.wait(&[here.clone(), Source::name("eve")]).is_none());
            logins.failed(guess, &[here.clone(), Source::name("eve")]);
        }
        assert!(logins.wait(&[here, Source::name("bob")]).is_some_and(|wait| wait.as_secs() >= 58));
        assert!(logins.wait(&[there.clone(), Source::name("eve")]).is_some());
        assert!(logins.wait(&[there, Source::name("bob")]).is_none());
        assert_eq!(address("2001:db8::1"), address("2001:db8::2"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:10.0.0.1"), address("10.0.0.1"));
    }

    #[test]
    fn failures_are_forgotten_after_a_while() {
        let logins = logins(1, Duration::from_millis(30));
        let source = [Source::name("eve")];
        logins.failed(logins.fingerprint("basic", b"eve:guess"), &source);
        assert!(logins.wait(&source).is_some());
        std::thread::sleep(Duration::from_millis(40));
        assert!(logins.wait(&source).is_none());
    }

    #[test]
    fn a_check_that_began_before_a_change_is_not_remembered() {
        let logins = logins(3, Duration::from_secs(60));
        let fingerprint = logins.fingerprint("basic", b"ann:old password");
        let ann = Identity { name: "ann".to_owned(), roles: BTreeSet::new(), api_key: None, writes: None };
        // The password is changed while it is hashed.
        let before = logins.changes();
        logins.forget();
        logins.remember(fingerprint, &ann, before);
        assert!(logins.known(fingerprint).is_none());
        logins.remember(fingerprint, &ann, logins.changes());
        assert_eq!(logins.known(fingerprint).map(|known| known.name), Some("ann".to_owned()));
        logins.forget();
        assert!(logins.known(fingerprint).is_none());
    }

    #[test]
    fn what_was_right_may_be_checked_again_until_it_is_wrong() {
        let logins = logins(1, Duration::from_secs(60));
        let fingerprint = logins.fingerprint("basic", b"ann:old password");
        let ann = Identity { name: "ann".to_owned(), roles: BTreeSet::new(), api_key: None, writes: None };
        assert!(!logins.was_right(fingerprint));
        logins.remember(fingerprint, &ann, logins.changes());
        logins.forget();
        assert!(logins.known(fingerprint).is_none() && logins.was_right(fingerprint));
        logins.failed(fingerprint, &[Source::name("ann")]);
        assert!(!logins.was_right(fingerprint));
    }

    #[test]
    fn checks_that_nobody_is_at_are_forgotten() {
        let logins = logins(3, Duration::from_secs(60));
        let fingerprint = |number: usize| logins.fingerprint("basic", &number.to_le_bytes());
        let held = logins.turn(fingerprint(0));
        assert!(Arc::ptr_eq(&held, &logins.turn(fingerprint(0))));
        (1..2 * MAX_TURNS).for_each(|number| drop(logins.turn(fingerprint(number))));
        assert!(lock(&logins.checks).len() <= MAX_TURNS);
        assert!(Arc::ptr_eq(&held, &logins.turn(fingerprint(0))));
    }

    #[test]
    fn tables_are_bounded() {
        let mut map = HashMap::new();
        let start = Instant::now() + Duration::from_secs(60);
        for number in 0..1000u64 {
            put_bounded(&mut map, number, start + Duration::from_millis(number), 100, |until| *until);
        }
        assert!(map.len() <= 100 && map.contains_key(&999));
    }
}
