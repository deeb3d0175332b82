//! EQL searches that go on, or are kept, after their request was answered.
//!
//! One is kept where its request says so (`keep_on_completion`), or where it was still running when
//! `wait_for_completion_timeout` had passed. It goes with its `keep_alive`, by DELETE, and with the process.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::http::Failure;

/// Searches kept at a time.
pub const MAX_KEPT_SEARCHES: usize = 100;
/// And of one user.
pub const MAX_KEPT_OF_ONE: usize = 25;
/// All kept answers together, in bytes.
pub const MAX_KEPT_BYTES: usize = 128 << 20;
/// How long a search is kept where nothing is said.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(5 * 86_400);

/// What a search came to, once it has.
pub(super) type Answer = Option<Result<Value, Failure>>;

/// A search under way, and what it came to.
pub(super) struct Running {
    pub(super) id: String,
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
    /// Of the answer; 0 until it is there.
    bytes: usize,
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

/// How long an answer is as text.
fn length(answer: &Result<Value, Failure>) -> usize {
    let mut length = Length(0);
    answer.as_ref().map_or(0, |answer| {
        // Counting never fails.
        _ = serde_json::to_writer(&mut length, answer);
        length.0
    })
}

/// Counts what is written.
struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Running {
    /// How long the answer is, if it is there.
    fn length(&self) -> Option<usize> {
        self.answer.borrow().as_ref().map(length)
    }
}

fn full() -> Failure {
    let reason = format!(
        "too many EQL searches are kept: {MAX_KEPT_OF_ONE} of one user and {MAX_KEPT_SEARCHES} of all at most, with \
         {MAX_KEPT_BYTES} bytes of answers; delete some, or let them have a shorter keep_alive"
    );
    Failure::Overloaded { reason, retry_after: Duration::from_secs(30) }
}

/// Of all answers.
fn bytes(kept: &HashMap<String, Kept>) -> usize {
    kept.values().map(|search| search.bytes).sum()
}

impl KeptSearches {
    /// Without those whose time is over. What is dropped is stopped.
    fn lock(&self, now: i64) -> MutexGuard<'_, HashMap<String, Kept>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, search| search.expires > now);
        kept
    }

    /// Keeps a search. `now` is in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// If there are too many, or their answers are too long together.
    pub(super) fn keep(&self, owner: &str, search: Running, keep_alive: Duration, now: i64) -> Result<(), Failure> {
        let length = search.length();
        let mut kept = self.lock(now);
        // It may have ended between the two. From now on, `end` counts it.
        let length = length.or_else(|| search.length()).unwrap_or(0);
        let own = kept.values().filter(|search| search.owner == owner).count();
        if own >= MAX_KEPT_OF_ONE || kept.len() >= MAX_KEPT_SEARCHES || bytes(&kept) + length > MAX_KEPT_BYTES {
            return Err(full());
        }
        let expires = end(now, keep_alive);
        kept.insert(search.id.clone(), Kept { owner: owner.to_owned(), search, expires, bytes: length });
        Ok(())
    }

    /// Says what a search came to. If it is kept, and its answer has no room, that it has none.
    pub(super) fn end(&self, id: &str, answer: Result<Value, Failure>, to: &watch::Sender<Answer>, now: i64) {
        let is_kept = self.lock(now).contains_key(id);
        // A long answer is not measured while others wait.
        let measured = is_kept.then(|| length(&answer));
        let mut kept = self.lock(now);
        let others = bytes(&kept);
        let Some(search) = kept.get_mut(id) else {
            to.send_replace(Some(answer));
            return;
        };
        let own = measured.unwrap_or_else(|| length(&answer));
        let fits = others + own <= MAX_KEPT_BYTES;
        search.bytes = if fits { own } else { 0 };
        to.send_replace(Some(if fits { answer } else { Err(full()) }));
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
    use uuid::Uuid;

    use super::*;

    fn running() -> (watch::Sender<Answer>, Running) {
        let (sender, answer) = watch::channel(None);
        (sender, Running { id: Uuid::new_v4().to_string(), answer, stop: Arc::default(), started: 0 })
    }

    /// One that came to an answer of so many bytes.
    fn ended(bytes: usize) -> Running {
        let (sender, search) = running();
        sender.send_replace(Some(Ok("x".repeat(bytes - 2).into())));
        search
    }

    fn keep(kept: &KeptSearches, owner: &str, search: Running) -> Result<String, Failure> {
        let id = search.id.clone();
        kept.keep(owner, search, KEEP_ALIVE, 0).map(|()| id)
    }

    fn is_full<T>(kept: Result<T, Failure>) -> bool {
        matches!(kept, Err(Failure::Overloaded { .. }))
    }

    #[test]
    fn searches_are_their_owners_and_end() {
        let kept = KeptSearches::default();
        let (_sender, search) = running();
        let (id, stop) = (search.id.clone(), search.stop.clone());
        kept.keep("ann", search, Duration::from_secs(1), 0).unwrap();
        assert!(kept.see(&id, "bob", None, 999).is_err() && kept.delete(&id, "bob", 999).is_err());
        assert_eq!(kept.see(&id, "ann", Some(Duration::from_secs(2)), 999).unwrap().expires, 2999);
        assert!(kept.see(&id, "ann", None, 2998).is_ok() && !stop.load(Ordering::Relaxed));
        assert!(kept.see(&id, "ann", None, 2999).is_err() && stop.load(Ordering::Relaxed));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let kept = KeptSearches::default();
        let of_one =
            |owner: &str| (0..MAX_KEPT_OF_ONE).map(|_| keep(&kept, owner, ended(2)).unwrap()).collect::<Vec<_>>();
        // Nobody takes the places of all.
        let of_ann = of_one("ann");
        assert!(is_full(keep(&kept, "ann", ended(2))));
        for owner in ["bob", "cid", "dan"] {
            of_one(owner);
        }
        assert!(is_full(keep(&kept, "eve", ended(2))));
        kept.delete(&of_ann[0], "ann", 0).unwrap();
        keep(&kept, "eve", ended(2)).unwrap();
        assert!(is_full(keep(&kept, "ann", ended(2))));
    }

    #[test]
    fn answers_are_bounded_together_whenever_they_come() {
        let kept = KeptSearches::default();
        assert!(is_full(keep(&kept, "ann", ended(MAX_KEPT_BYTES + 1))));
        let long = keep(&kept, "ann", ended(MAX_KEPT_BYTES - 10)).unwrap();
        assert!(is_full(keep(&kept, "ann", ended(11))));
        // These still run when they are kept.
        let end = |bytes: usize| {
            let (sender, search) = running();
            let id = keep(&kept, "ann", search).unwrap();
            kept.end(&id, Ok("x".repeat(bytes - 2).into()), &sender, 0);
            kept.see(&id, "ann", None, 0).unwrap().answer.borrow().clone().unwrap().map(|_| ())
        };
        assert!(is_full(end(11)));
        end(10).unwrap();
        assert!(is_full(end(3)));
        kept.delete(&long, "ann", 0).unwrap();
        end(1 << 20).unwrap();
        // What is not kept has no bound here.
        let (sender, search) = running();
        kept.end(&search.id, Ok("x".repeat(MAX_KEPT_BYTES).into()), &sender, 0);
        assert!(search.answer.borrow().as_ref().is_some_and(Result::is_ok));
    }
}
