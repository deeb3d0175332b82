//! From documents to match lists.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use eqlipse_batch::{Arrival, RowMeta, Schema};
use eqlipse_engine::{Collector, Coverage, ListedRules, MatchList, MatchPlan, Matcher};
use eqlipse_events::{ArrivalTime, DecodedRows, INGESTED_FIELD, Identity, IncomingEvent, Intake, IntakeError};

use crate::StoreError;
use crate::frame::FrameBuilder;
use crate::ids::NewIds;
use crate::store::NewDocument;
use crate::sync::lock;

/// Rules that were compiled together.
#[derive(Clone)]
pub struct StoreRules {
    /// The rules. Their schema has what the reader needs ([`eqlipse_events::reserve`]).
    pub plan: Arc<MatchPlan>,
    /// By rule: a number that is another whenever the rule would match otherwise.
    pub fingerprints: Vec<u128>,
    /// The same, as lists know them.
    pub(crate) listed: ListedRules,
    /// The rules' schema, with what events get when they come in.
    pub(crate) schema: Arc<Schema>,
}

impl StoreRules {
    /// Rules, and by rule a number that is another whenever the rule would match otherwise.
    pub fn new(plan: Arc<MatchPlan>, fingerprints: Vec<u128>) -> Self {
        let listed = ListedRules::new(plan.rules(), &fingerprints);
        let mut schema = plan.rules().schema().extend();
        schema.add(INGESTED_FIELD);
        Self { plan, fingerprints, listed, schema: schema.build() }
    }
}

/// Events are decoded with fields beyond those of the rules only while there are no more.
const MAX_FIELDS: usize = 4_096;
/// And only so many at once, or more.
const MIN_EVENTS: usize = 16;

/// What incoming events are decoded with: the fields that rules ask for, and those that segments have besides, so that no
/// document is gone through a second time when its segment is written.
#[derive(Default)]
pub(crate) struct IntakeSchema(Mutex<KnownFields>);

#[derive(Default)]
struct KnownFields {
    fields: BTreeSet<String>,
    /// The schema for these rules.
    made: Option<(Arc<StoreRules>, Arc<Schema>)>,
}

impl IntakeSchema {
    /// The schema for these rules and so many events: the rules' own while no fields are known, and for few events, whose
    /// columns would take more memory than is worth it.
    pub(crate) fn of(&self, rules: &Arc<StoreRules>, events: usize) -> Arc<Schema> {
        let KnownFields { fields, made } = &mut *lock(&self.0);
        let own = &rules.schema;
        if fields.is_empty() || fields.len() > MAX_FIELDS || events < MIN_EVENTS {
            return own.clone();
        }
        match made {
            Some((known, schema)) if Arc::ptr_eq(known, rules) => schema.clone(),
            _ => {
                let mut extended = own.extend();
                // A search response is told by its hits, where nobody asks for them.
                let is_told = |field: &&String| *field != "hits" && !field.starts_with("hits.");
                fields.iter().filter(is_told).for_each(|field| _ = extended.add(field));
                let schema = extended.build();
                *made = Some((rules.clone(), schema.clone()));
                schema
            }
        }
    }

    /// Takes note of the fields that segments have now.
    pub(crate) fn learn<'f>(&self, all: impl Iterator<Item = &'f str>) {
        let mut fields: BTreeSet<&str> = BTreeSet::new();
        for field in all {
            fields.insert(field);
            if fields.len() > MAX_FIELDS {
                break;
            }
        }
        let mut known = lock(&self.0);
        if !known.fields.iter().eq(&fields) {
            *known = KnownFields { fields: fields.iter().map(|field| (*field).to_owned()).collect(), made: None };
        }
    }
}

/// Decodes and matches, keeping its memory from one request to the next.
pub(crate) struct Worker {
    rules: Arc<StoreRules>,
    /// That of the rules, with the fields that segments have besides.
    schema: Arc<Schema>,
    intake: Intake,
    matcher: Matcher,
    coverage: Coverage,
    pub(crate) scratch: Scratch,
}

/// Memory for what an event becomes on its way into the log.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) frame: FrameBuilder,
    pub(crate) ids: NewIds,
}

impl Worker {
    pub(crate) fn new(rules: &Arc<StoreRules>) -> Result<Self, StoreError> {
        let set = rules.plan.rules();
        let (intake, schema) = (new_intake(&rules.schema)?, rules.schema.clone());
        let (matcher, coverage) = (Matcher::new(rules.plan.clone()), Coverage::new(set));
        Ok(Self { rules: rules.clone(), schema, intake, matcher, coverage, scratch: Scratch::default() })
    }

    /// Decodes more than the rules ask for from now on.
    fn decode_with(&mut self, schema: &Arc<Schema>) -> Result<(), StoreError> {
        if !Arc::ptr_eq(&self.schema, schema) {
            (self.intake, self.schema) = (new_intake(schema)?, schema.clone());
        }
        Ok(())
    }

    /// Adds an event; its row is the number of those before it.
    pub(crate) fn add(
        &mut self,
        document: &str,
        index: &str,
        id: Option<&str>,
        identity: Identity<'_>,
        sequence: u64,
    ) -> Result<RowMeta, IntakeError> {
        let arrival = Arrival { source: 0, position: sequence };
        self.intake.add(&IncomingEvent { document, index, id, identity, arrival })
    }

    /// Adds an event that arrives at this time, and appends its document with the time to `stamped`. Its sequence number
    /// follows, by [`Self::number`].
    pub(crate) fn add_arriving(
        &mut self,
        new: &NewDocument,
        time: &ArrivalTime,
        stamped: &mut String,
    ) -> Result<RowMeta, IntakeError> {
        let (identity, arrival) = (Identity::Of(&new.document), Arrival::default());
        let event =
            IncomingEvent { document: &new.document, index: &new.index, id: new.id.as_deref(), identity, arrival };
        self.intake.add_arriving(&event, time, stamped)
    }

    /// How many events there are.
    pub(crate) fn len(&self) -> usize {
        self.intake.len()
    }

    /// By row: the event's place in time, and its identity.
    pub(crate) fn metas(&mut self) -> &[RowMeta] {
        self.intake.batch().rows()
    }

    /// Gives the events sequence numbers: from `first` on, in the order of the numbers that `rows` has of them.
    pub(crate) fn number(&mut self, first: u64, rows: &[u32]) {
        self.intake.place(rows.iter().map(|row| first + u64::from(*row)));
    }

    /// The columns of the events so far, for their segments; none while it is not known which those have.
    /// `streams` are the rows of each data stream.
    pub(crate) fn decoded(&self, streams: &[Range<u32>]) -> Option<DecodedRows> {
        let is_known = !Arc::ptr_eq(&self.schema, &self.rules.schema);
        is_known.then(|| self.intake.decoded(streams)).flatten()
    }

    /// What matches of the events since the last time; `handle` is that of a row.
    pub(crate) fn matches(&mut self, handle: impl Fn(u32) -> u64) -> Result<MatchList, StoreError> {
        let Self { rules, intake, matcher, coverage, .. } = self;
        let set = rules.plan.rules();
        let mut collector = Collector::new(set.clone());
        let batch = intake.batch();
        collector.start(batch);
        matcher.run(batch, coverage, |stage, rows| collector.add(batch, stage, rows, &handle));
        let list = collector.into_list(set, &rules.listed);
        intake.clear();
        list.map_err(StoreError::io("matched rows"))
    }
}

fn new_intake(schema: &Arc<Schema>) -> Result<Intake, StoreError> {
    Intake::new(schema).map_err(|error| StoreError::Rules(error.to_string()))
}

/// Workers that wait for the next request.
#[derive(Default)]
pub(crate) struct Workers(Mutex<Vec<Worker>>);

impl Workers {
    /// A worker with these rules, that decodes with this schema.
    pub(crate) fn take(&self, rules: &Arc<StoreRules>, schema: &Arc<Schema>) -> Result<Worker, StoreError> {
        let own = &rules.schema;
        let idle = {
            let mut idle = lock(&self.0);
            // Those with older rules or fields are of no use any more.
            let is_of_use = |known: &Arc<Schema>| [schema, own].iter().any(|schema| Arc::ptr_eq(known, schema));
            idle.retain(|worker| {
                Arc::ptr_eq(&worker.rules, rules) && (is_of_use(&worker.schema) || Arc::ptr_eq(schema, own))
            });
            let same = idle.iter().position(|worker| Arc::ptr_eq(&worker.schema, schema));
            same.map(|place| idle.swap_remove(place))
        };
        let mut worker = idle.map_or_else(|| Worker::new(rules), Ok)?;
        worker.decode_with(schema)?;
        Ok(worker)
    }

    /// Takes a worker back. One whose request was broken off is left to go.
    pub(crate) fn give_back(&self, worker: Worker) {
        lock(&self.0).push(worker);
    }
}
