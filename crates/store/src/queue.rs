//! Requests that wait for a worker, to be taken in together.
//!
//! A batch costs something however few events it has, and so does a `fsync`: where requests come faster than workers are free,
//! those that wait become one batch. Whoever is first in line when a place is free takes in the own request and those behind it,
//! as many as make a batch, and hands everybody the answer. No more do so at a time than there are processors: they would only
//! push each other's columns out of the processors' caches.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::error::{IngestError, Refused};
use crate::store::{NewDocument, Stored};
use crate::sync::lock;

/// The most events of requests that are taken in together.
const MAX_EVENTS: usize = 8_192;
/// And the most bytes of their documents.
const MAX_BYTES: usize = 16 << 20;
/// A large request is not to keep all others waiting.
const MIN_PLACES: usize = 2;

/// What becomes of a request.
pub(crate) type Answer = Result<Vec<Result<Stored, Refused>>, IngestError>;

/// The requests that wait.
pub(crate) struct Queue(Mutex<State>);

struct State {
    waiting: VecDeque<Request>,
    answers: HashMap<u64, Answer>,
    /// The number of the next request.
    next: u64,
    /// How many may begin to take in what waits.
    places: usize,
}

struct Request {
    number: u64,
    documents: Vec<NewDocument>,
    bytes: usize,
    /// When it came.
    time: i64,
    /// Rung when there is an answer, or a place.
    bell: Arc<Condvar>,
}

impl Default for Queue {
    fn default() -> Self {
        let places = thread::available_parallelism().map_or(1, usize::from).max(MIN_PLACES);
        Self(Mutex::new(State { waiting: VecDeque::new(), answers: HashMap::new(), next: 0, places }))
    }
}

impl Queue {
    /// What becomes of a request. `take_in` may be called meanwhile, for this one and others.
    pub(crate) fn answer(&self, documents: Vec<NewDocument>, time: i64, take_in: impl Fn(&mut Group<'_>)) -> Answer {
        let bytes = documents.iter().map(|new| new.document.len()).sum();
        let bell = Arc::new(Condvar::new());
        let mut state = lock(&self.0);
        let number = state.next;
        state.next += 1;
        state.waiting.push_back(Request { number, documents, bytes, time, bell: bell.clone() });
        let _own = Own { queue: self, number };
        loop {
            if let Some(answer) = state.answers.remove(&number) {
                return answer;
            }
            state = match Group::of(self, state, number) {
                Ok(mut group) => {
                    take_in(&mut group);
                    drop(group);
                    lock(&self.0)
                }
                Err(state) => bell.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// The request of somebody who asks; when he panics, nobody comes for the answer.
struct Own<'q> {
    queue: &'q Queue,
    number: u64,
}

impl Drop for Own<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            lock(&self.queue.0).answers.remove(&self.number);
        }
    }
}

impl State {
    /// Wakes the first in line, if there is a place.
    fn call_next(&self) {
        if let (true, Some(request)) = (self.places > 0, self.waiting.front()) {
            request.bell.notify_one();
        }
    }
}

/// Requests that are taken in together. Those without an answer get one in the end, whatever happens.
pub(crate) struct Group<'q> {
    queue: &'q Queue,
    requests: Vec<Request>,
    has_place: bool,
}

impl<'q> Group<'q> {
    /// The request of this number and those behind it, if it is the first in line and a place is free.
    fn of<'s>(queue: &'q Queue, mut state: MutexGuard<'s, State>, number: u64) -> Result<Self, MutexGuard<'s, State>> {
        if state.places == 0 || state.waiting.front().is_none_or(|first| first.number != number) {
            return Err(state);
        }
        state.places -= 1;
        let (mut requests, mut events, mut bytes) = (Vec::new(), 0, 0);
        while let Some(request) = state.waiting.pop_front() {
            (events, bytes) = (events + request.documents.len(), bytes + request.bytes);
            if !requests.is_empty() && (events > MAX_EVENTS || bytes > MAX_BYTES) {
                state.waiting.push_front(request);
                break;
            }
            requests.push(request);
        }
        state.call_next();
        Ok(Self { queue, requests, has_place: true })
    }

    /// All documents.
    pub(crate) fn documents(&self) -> Vec<&NewDocument> {
        self.requests.iter().flat_map(|request| &request.documents).collect()
    }

    /// When the last one came.
    pub(crate) fn time(&self) -> i64 {
        self.requests.iter().map(|request| request.time).max().unwrap_or_default()
    }

    /// Leaves the place to others: what is left to do takes no processor.
    pub(crate) fn leave(&mut self) {
        if std::mem::replace(&mut self.has_place, false) {
            let mut state = lock(&self.queue.0);
            state.places += 1;
            state.call_next();
        }
    }

    /// Hands out what became of the documents, in their order.
    pub(crate) fn answer(&mut self, answer: Answer) {
        let mut results = answer.map(Vec::into_iter);
        let requests = std::mem::take(&mut self.requests);
        let own = |request: &Request| match &mut results {
            Ok(results) => Ok(results.take(request.documents.len()).collect()),
            Err(error) => Err(error.clone()),
        };
        let answers: Vec<Answer> = requests.iter().map(own).collect();
        let mut state = lock(&self.queue.0);
        for (request, answer) in requests.iter().zip(answers) {
            state.answers.insert(request.number, answer);
            request.bell.notify_one();
        }
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        self.leave();
        if !self.requests.is_empty() {
            let reason = "internal error, please report it: nobody took the request";
            self.answer(Err(IngestError::Log(reason.to_owned())));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn documents(request: usize) -> Vec<NewDocument> {
        let document = |number: usize| NewDocument {
            index: "logs-x".into(),
            id: None,
            document: format!("{request}-{number}").into(),
        };
        (0..request % 7).map(document).collect()
    }

    /// Answers with what the documents are.
    fn take_in(group: &mut Group<'_>) {
        let results =
            group.documents().into_iter().map(|new| Ok(Stored { id: new.document.clone().into(), sequence: 0 }));
        let results = results.collect();
        group.leave();
        group.answer(Ok(results));
    }

    #[test]
    fn everybody_gets_the_own_answer() {
        let (queue, groups, most) = (Queue::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        let places = lock(&queue.0).places;
        let at_once = AtomicUsize::new(0);
        thread::scope(|scope| {
            for client in 0..8 {
                let (queue, groups, most, at_once) = (&queue, &groups, &most, &at_once);
                scope.spawn(move || {
                    for request in (client * 1_000)..(client * 1_000 + 200) {
                        let answer = queue.answer(documents(request), 0, |group| {
                            most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            groups.fetch_add(1, Ordering::SeqCst);
                            thread::yield_now();
                            at_once.fetch_sub(1, Ordering::SeqCst);
                            take_in(group);
                        });
                        let ids = answer.unwrap().into_iter().map(|stored| stored.unwrap().id);
                        let own = documents(request).into_iter().map(|new| new.document.into());
                        assert!(ids.eq(own));
                    }
                });
            }
        });
        assert!(most.into_inner() <= places && groups.into_inner() <= 8 * 200);
        let state = lock(&queue.0);
        assert_eq!((state.places, state.waiting.len(), state.answers.len()), (places, 0, 0));
    }

    #[test]
    fn a_group_has_its_limits_and_large_requests_go_alone() {
        let queue = Queue::default();
        let new = |bytes: usize| NewDocument { document: "x".repeat(bytes).into(), ..documents(1).remove(0) };
        let request = |number, count: usize, bytes: usize| Request {
            number,
            documents: vec![new(bytes); count],
            bytes: count * bytes,
            time: 0,
            bell: Arc::default(),
        };
        let all = [(5_000, 1), (3_192, 1), (1, 1), (1, MAX_BYTES + 1), (1, 1)];
        let mut state = lock(&queue.0);
        state.places = 9;
        state.waiting = all.iter().zip(0..).map(|((count, bytes), number)| request(number, *count, *bytes)).collect();
        drop(state);
        // Only the first in line may begin.
        assert!(Group::of(&queue, lock(&queue.0), 1).is_err());
        let sizes = [0, 2, 3, 4]
            .map(|number| Group::of(&queue, lock(&queue.0), number).map_or(0, |group| group.requests.len()));
        assert_eq!(sizes, [2, 1, 1, 1]);
        assert!(lock(&queue.0).waiting.is_empty());
        assert_eq!(lock(&queue.0).places, 9);
    }

    #[test]
    fn who_panics_leaves_an_answer_and_the_place() {
        let queue = Queue::default();
        let places = lock(&queue.0).places;
        let panics = AssertUnwindSafe(|| queue.answer(documents(3), 0, |_| panic!("as asked")));
        assert!(catch_unwind(panics).is_err());
        let left = |state: &State| (state.places, state.waiting.len(), state.answers.len());
        assert_eq!(left(&lock(&queue.0)), (places, 0, 0));
        assert!(queue.answer(documents(3), 0, |_| ()).is_err());
        assert_eq!(queue.answer(documents(3), 0, take_in).unwrap().len(), 3);
    }
}
