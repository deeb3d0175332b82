//! The same work on many items.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What `work` makes of each item, in their order; on all cores.
pub fn on_all_cores<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    on_threads(thread::available_parallelism().map_or(1, usize::from), items, work)
}

/// What `work` makes of each item, in their order; on so many threads, of which this one is the first.
pub fn on_threads<T: Sync, R: Send>(threads: usize, items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let take = || {
        let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        let own = numbers.map_while(|number| Some((number, work(items.get(number)?))));
        own.collect::<Vec<_>>()
    };
    let threads = threads.min(items.len());
    let mut results: Vec<Option<R>> = items.iter().map(|_| None).collect();
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(take)).collect();
        let others = std::iter::once(take()).chain(
            others.into_iter().map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))),
        );
        others.flatten().for_each(|(number, result)| results[number] = Some(result));
    });
    results.into_iter().flatten().collect()
}
