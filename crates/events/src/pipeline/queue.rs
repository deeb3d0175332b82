//! Which thread reads what.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use zip::ZipArchive;

use crate::container::LazyFile;

/// Something for one thread to read.
#[derive(Clone)]
pub(crate) enum Task {
    /// The source of this number.
    Source(usize),
    /// A member of a source that is a zip archive.
    Member { source: usize, archive: Arc<ZipArchive<LazyFile>>, index: usize },
}

/// Sources in their order, and the members of archives among them as they are found.
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    next: usize,
    sources: usize,
    members: VecDeque<Task>,
    /// Tasks under way, each of which may add members.
    active: usize,
    stopped: bool,
}

impl Queue {
    pub(crate) fn new(sources: usize) -> Self {
        let state = State { next: 0, sources, members: VecDeque::new(), active: 0, stopped: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that panics runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next task, waiting while one may yet be added; a [`guard`](Self::guard) has to be held while it is under
    /// way.
    pub(crate) fn take(&self) -> Option<Task> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            let next = match state.members.pop_front() {
                Some(member) => Some(member),
                None if state.next < state.sources => {
                    state.next += 1;
                    Some(Task::Source(state.next - 1))
                }
                None => None,
            };
            match next {
                Some(task) => {
                    state.active += 1;
                    return Some(task);
                }
                None if state.active == 0 => return None,
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Says on its end, however that comes about, that a task is done.
    pub(crate) fn guard(&self) -> impl Drop {
        Guard(self)
    }

    pub(crate) fn add(&self, members: Vec<Task>) {
        self.lock().members.extend(members);
        self.changed.notify_all();
    }

    /// Gives out no more tasks.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }
}

struct Guard<'a>(&'a Queue);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.lock().active -= 1;
        self.0.changed.notify_all();
    }
}
