//! A bound on memory that many requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that may be in use together.
#[derive(Debug)]
pub struct Budget {
    used: AtomicU64,
    limit: u64,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self { used: AtomicU64::new(0), limit })
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// An empty share, to be grown.
    pub fn share(self: &Arc<Self>) -> Share {
        Share { budget: self.clone(), bytes: 0 }
    }
}

/// What one request has of a budget. It is given back when this is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Share {
    /// Takes `bytes` more, if there are so many. A share that is alone always gets them: a request that is within its
    /// own limit is never turned away for good.
    #[must_use]
    pub fn grow(&mut self, bytes: u64) -> bool {
        let fits = |used: u64| {
            let more = used.checked_add(bytes)?;
            (more <= self.budget.limit || used == self.bytes).then_some(more)
        };
        let grown = self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        if grown {
            self.bytes += bytes;
        }
        grown
    }

    /// Whether so many bytes in all would be given now.
    pub fn fits(&self, bytes: u64) -> bool {
        let others = self.budget.used() - self.bytes;
        others == 0 || others.checked_add(bytes).is_some_and(|all| all <= self.budget.limit)
    }

    /// Bytes of this share.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_bounded_together_and_given_back() {
        let budget = Budget::new(100);
        let mut first = budget.share();
        assert!(first.grow(60));
        let mut second = budget.share();
        assert!(!second.grow(50));
        assert!(second.grow(40));
        assert!(!first.grow(1));
        drop(first);
        assert_eq!(budget.used(), 40);
        assert!(second.grow(1000), "alone");
        assert!(second.fits(2000), "alone");
        drop(second);
        assert_eq!(budget.used(), 0);
        let mut third = budget.share();
        assert!(third.grow(30));
        assert_eq!((budget.used(), third.bytes()), (30, 30));
        assert!(budget.share().fits(70) && !budget.share().fits(71));
        drop(third);
        assert_eq!(budget.used(), 0);
    }
}
