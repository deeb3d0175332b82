//! Threads that wait for each other.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

/// Locks, also what somebody held who panicked: everything here is changed so that it is whole at every moment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As [`lock`], if nobody else holds it.
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(held) => Some(held),
        Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Wakes a thread that rests.
#[derive(Debug, Default)]
pub(crate) struct Bell(Mutex<bool>, Condvar);

impl Bell {
    pub(crate) fn ring(&self) {
        *lock(&self.0) = true;
        self.1.notify_all();
    }

    /// Waits until somebody rings, or for so long.
    pub(crate) fn rest(&self, time: Duration) {
        let rung = lock(&self.0);
        let waited = self.1.wait_timeout_while(rung, time, |rung| !*rung);
        *waited.map_or_else(|error| error.into_inner().0, |(rung, _)| rung) = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_panicked_holds_nothing_up() {
        let mutex = Mutex::new(7);
        let panicked = std::panic::catch_unwind(|| {
            let _held = lock(&mutex);
            panic!("while it is held");
        });
        assert!(panicked.is_err() && mutex.is_poisoned());
        let held = try_lock(&mutex);
        assert_eq!(held.as_deref(), Some(&7));
        assert!(try_lock(&mutex).is_none());
        drop(held);
        assert_eq!(*lock(&mutex), 7);
    }
}
