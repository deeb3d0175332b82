//! From documents to match lists.

use std::sync::{Arc, Mutex, PoisonError};

use eqlipse_batch::Arrival;
use eqlipse_engine::{Collector, Coverage, ListedRules, MatchList, MatchPlan, Matcher};
use eqlipse_events::{Admitted, Identity, IncomingEvent, Intake, IntakeError};

use crate::StoreError;
use crate::ids::NewIds;
use crate::log::{Packer, encode_frame};

/// Rules that were compiled together.
#[derive(Clone)]
pub struct StoreRules {
    /// The rules. Their schema has what the reader needs ([`eqlipse_events::reserve`]).
    pub plan: Arc<MatchPlan>,
    /// By rule: a number that is another whenever the rule would match otherwise.
    pub fingerprints: Vec<u128>,
    /// The same, as lists know them.
    pub(crate) listed: ListedRules,
}

impl StoreRules {
    /// Rules, and by rule a number that is another whenever the rule would match otherwise.
    pub fn new(plan: Arc<MatchPlan>, fingerprints: Vec<u128>) -> Self {
        let listed = ListedRules::new(plan.rules(), &fingerprints);
        Self { plan, fingerprints, listed }
    }
}

/// Decodes and matches, keeping its memory from one request to the next.
pub(crate) struct Worker {
    rules: Arc<StoreRules>,
    intake: Intake,
    matcher: Matcher,
    coverage: Coverage,
    pub(crate) scratch: Scratch,
}

/// Memory for what an event becomes on its way into the log.
#[derive(Default)]
pub(crate) struct Scratch {
    /// The document with its time of arrival.
    pub(crate) stamped: String,
    /// The [records](crate::record) of the request so far.
    pub(crate) records: Vec<u8>,
    packer: Option<Packer>,
    pub(crate) ids: NewIds,
}

/// Memory that a request may leave behind for the next.
const MAX_SCRATCH: usize = 8 << 20;

impl Scratch {
    /// The frame with the records.
    pub(crate) fn frame(&mut self, first: u64, ingested: i64, count: u32) -> std::io::Result<Vec<u8>> {
        let packer = match &mut self.packer {
            Some(packer) => packer,
            none => none.insert(Packer::new()?),
        };
        let frame = encode_frame(packer, first, ingested, count, &self.records);
        if self.records.capacity() > MAX_SCRATCH {
            self.records = Vec::new();
        }
        if self.stamped.capacity() > MAX_SCRATCH {
            self.stamped = String::new();
        }
        frame
    }
}

impl Worker {
    pub(crate) fn new(rules: &Arc<StoreRules>) -> Result<Self, StoreError> {
        let set = rules.plan.rules();
        let intake = Intake::new(set.schema()).map_err(|error| StoreError::Rules(error.to_string()))?;
        let (matcher, coverage) = (Matcher::new(rules.plan.clone()), Coverage::new(set));
        Ok(Self { rules: rules.clone(), intake, matcher, coverage, scratch: Scratch::default() })
    }

    /// Adds an event; its row is the number of those before it.
    pub(crate) fn add(
        &mut self,
        document: &str,
        index: &str,
        id: Option<&str>,
        identity: Identity<'_>,
        sequence: u64,
    ) -> Result<Admitted, IntakeError> {
        let arrival = Arrival { source: 0, position: sequence };
        self.intake.add(&IncomingEvent { document, index, id, identity, arrival })
    }

    /// What matches of the events since the last time, by row.
    pub(crate) fn matches(&mut self) -> Result<MatchList, StoreError> {
        let Self { rules, intake, matcher, coverage, .. } = self;
        let set = rules.plan.rules();
        let mut collector = Collector::new(set.clone());
        let batch = intake.batch();
        collector.start(batch);
        matcher.run(batch, coverage, |stage, rows| collector.add(batch, stage, rows, u64::from));
        let list = collector.into_list(set, &rules.listed);
        intake.clear();
        list.map_err(StoreError::io("matched rows"))
    }
}

/// Workers that wait for the next request.
#[derive(Default)]
pub(crate) struct Workers(Mutex<Vec<Worker>>);

impl Workers {
    /// A worker with these rules.
    pub(crate) fn take(&self, rules: &Arc<StoreRules>) -> Result<Worker, StoreError> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those with older rules are of no use any more.
        idle.retain(|worker| Arc::ptr_eq(&worker.rules, rules));
        idle.pop().map_or_else(|| Worker::new(rules), Ok)
    }

    /// Takes a worker back. One whose request was broken off is left to go.
    pub(crate) fn give_back(&self, worker: Worker) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
    }
}
