//! EQL searches that go on, or are kept, after their request was answered.
//!
//! One is kept where its request says so (`keep_on_completion`), or where it was still running when
//! `wait_for_completion_timeout` had passed. It goes with its `keep_alive`, by DELETE, and with the process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use crate::http::Failure;

/// Searches kept at a time.
pub const MAX_KEPT_SEARCHES: usize = 100;
/// All kept answers together, in bytes.
pub const MAX_KEPT_BYTES: usize = 128 << 20;
/// How long a search is kept where nothing is said.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(5 * 86_400);

/// What a search came to, once it has.
pub(super) type Answer = Option<Result<Value, Failure>>;

/// A search under way, and what it came to.
pub(super) struct Running {
    /// Changes once.
    pub(super) answer: watch::Receiver<Answer>,
    /// Ends it.
    pub(super) stop: Arc<AtomicBool>,
    /// When it began, in milliseconds since the Unix epoch.
    pub(super) started: i64,
}

/// Searches by their ids.
#[derive(Default)]
pub struct KeptSearches(Mutex<HashMap<String, Kept>>);

struct Kept {
    owner: String,
    search: Running,
    /// In milliseconds since the Unix epoch.
    expires: i64,
    /// Of the answer, once it is there.
    bytes: Option<usize>,
}

/// A kept search as it is seen now.
pub(super) struct Seen {
    pub(super) answer: watch::Receiver<Answer>,
    pub(super) started: i64,
    pub(super) expires: i64,
}

fn end(now: i64, keep_alive: Duration) -> i64 {
    now.saturating_add(i64::try_from(keep_alive.as_millis()).unwrap_or(i64::MAX))
}

impl Kept {
    fn measure(&mut self) -> usize {
        if self.bytes.is_none()
            && let Some(Ok(answer)) = &*self.search.answer.borrow()
        {
            self.bytes = Some(answer.to_string().len());
        }
        self.bytes.unwrap_or(0)
    }
}

impl KeptSearches {
    /// Without those whose time is over. What is dropped is stopped.
    fn lock(&self, now: i64) -> MutexGuard<'_, HashMap<String, Kept>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, search| search.expires > now);
        kept
    }

    /// Keeps a search; returns its id. `now` is in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// If there are too many, or their answers are too long together.
    pub(super) fn keep(&self, owner: &str, search: Running, keep_alive: Duration, now: i64) -> Result<String, Failure> {
        let mut kept = self.lock(now);
        let bytes: usize = kept.values_mut().map(Kept::measure).sum();
        if kept.len() >= MAX_KEPT_SEARCHES || bytes >= MAX_KEPT_BYTES {
            let reason = format!(
                "too many EQL searches are kept: {MAX_KEPT_SEARCHES} at most, with {MAX_KEPT_BYTES} bytes of answers; delete some, \
                 or let them have a shorter keep_alive"
            );
            return Err(Failure::Overloaded { reason, retry_after: Duration::from_secs(30) });
        }
        let id = Uuid::new_v4().simple().to_string();
        let expires = end(now, keep_alive);
        kept.insert(id.clone(), Kept { owner: owner.to_owned(), search, expires, bytes: None });
        Ok(id)
    }

    /// A search of this owner; with `keep_alive`, it is kept so long from now on.
    ///
    /// # Errors
    /// If there is none: it is another's, its time is over, or it never was.
    pub(super) fn see(&self, id: &str, owner: &str, keep_alive: Option<Duration>, now: i64) -> Result<Seen, Failure> {
        let mut kept = self.lock(now);
        let search = kept.get_mut(id).filter(|search| search.owner == owner);
        let search = search.ok_or_else(|| Failure::NotFound(id.to_owned()))?;
        if let Some(keep_alive) = keep_alive {
            search.expires = end(now, keep_alive);
        }
        Ok(Seen { answer: search.search.answer.clone(), started: search.search.started, expires: search.expires })
    }

    /// Forgets a search of this owner, and ends it.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn delete(&self, id: &str, owner: &str, now: i64) -> Result<(), Failure> {
        let mut kept = self.lock(now);
        if kept.get(id).is_none_or(|search| search.owner != owner) {
            return Err(Failure::NotFound(id.to_owned()));
        }
        kept.remove(id);
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The answer of a search that still runs.
pub(super) fn still_running(id: &str, started: i64, now: i64) -> Value {
    json!({
        "id": id,
        "is_partial": true,
        "is_running": true,
        "took": (now - started).max(0),
        "timed_out": false,
        "hits": { "total": { "value": 0, "relation": "gte" } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running() -> (watch::Sender<Answer>, Running) {
        let (sender, answer) = watch::channel(None);
        (sender, Running { answer, stop: Arc::default(), started: 0 })
    }

    #[test]
    fn searches_are_their_owners_and_end() {
        let kept = KeptSearches::default();
        let (_sender, search) = running();
        let stop = search.stop.clone();
        let id = kept.keep("ann", search, Duration::from_secs(1), 0).unwrap();
        assert!(kept.see(&id, "bob", None, 999).is_err() && kept.delete(&id, "bob", 999).is_err());
        assert_eq!(kept.see(&id, "ann", Some(Duration::from_secs(2)), 999).unwrap().expires, 2999);
        assert!(kept.see(&id, "ann", None, 2998).is_ok() && !stop.load(Ordering::Relaxed));
        assert!(kept.see(&id, "ann", None, 2999).is_err() && stop.load(Ordering::Relaxed));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let kept = KeptSearches::default();
        let keep = || {
            let (sender, search) = running();
            sender.send_replace(Some(Ok(json!({}))));
            kept.keep("ann", search, KEEP_ALIVE, 0)
        };
        let ids: Vec<String> = (0..MAX_KEPT_SEARCHES).map(|_| keep().unwrap()).collect();
        assert!(matches!(keep(), Err(Failure::Overloaded { .. })));
        kept.delete(&ids[0], "ann", 0).unwrap();
        keep().unwrap();
        let long = KeptSearches::default();
        let (sender, search) = running();
        sender.send_replace(Some(Ok(json!("x".repeat(MAX_KEPT_BYTES)))));
        long.keep("ann", search, KEEP_ALIVE, 0).unwrap();
        assert!(matches!(long.keep("ann", running().1, KEEP_ALIVE, 0), Err(Failure::Overloaded { .. })));
    }
}
