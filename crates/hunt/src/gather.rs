//! What hunt and query share: reading all events, matching them, and putting together what matched.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use eqlipse_batch::EventBatch;
use eqlipse_engine::{Collector, Coverage, MatchPlan, Matcher, RuleSet};
use eqlipse_events::{Discovery, Progress, ReadOptions, ReadReport};

use crate::documents::{Documents, handle};
use crate::run::{HuntError, HuntOptions};
use crate::spool::{Spool, write_place};

/// One thread's part of a run.
struct Worker {
    number: usize,
    rules: Arc<RuleSet>,
    matcher: Matcher,
    collector: Collector,
    coverage: Coverage,
    spool: Spool,
    /// The first failure to keep a document.
    failure: Option<io::Error>,
    identities: Vec<u128>,
    untimed: u64,
}

impl Worker {
    fn new(number: usize, plan: &Arc<MatchPlan>) -> Self {
        let rules = plan.rules();
        Self {
            number,
            rules: rules.clone(),
            matcher: Matcher::new(plan.clone()),
            collector: Collector::new(rules.clone()),
            coverage: Coverage::new(rules),
            spool: Spool::default(),
            failure: None,
            identities: Vec::new(),
            untimed: 0,
        }
    }

    fn take(&mut self, batch: &EventBatch, progress: &Progress) {
        self.identities.extend(batch.rows().iter().filter_map(|row| row.identity));
        self.untimed += batch.rows().iter().filter(|row| row.order.time.is_none()).count() as u64;
        let Self { rules, matcher, collector, coverage, spool, failure, number, .. } = self;
        collector.start(batch);
        matcher.run(batch, coverage, |stage, rows| {
            if rules.fires_alone(stage) {
                progress.add_alerts(rows.len() as u64);
            }
            // Most events of sequences end in no alert: their documents are read again if they do.
            let is_kept = rules.fires_alone(stage);
            let place = |row| if is_kept { None } else { batch.place(row) };
            let write = |row: u32, out: &mut Vec<u8>| match place(row) {
                Some(place) => write_place(&place, out),
                None => batch.write_source(row, out),
            };
            collector.add(batch, stage, rows, |row| match spool.add(|out| write(row, out)) {
                Ok(offset) => handle(*number, offset),
                Err(error) => {
                    failure.get_or_insert(error);
                    0
                }
            });
        });
    }
}

/// What all threads found, in one order.
pub(crate) struct Gathered<'a> {
    /// The matched rows and their documents.
    pub(crate) documents: Documents<'a>,
    pub(crate) coverage: Coverage,
    pub(crate) read: ReadReport,
    /// Events that had been read before.
    pub(crate) duplicates: u64,
    /// Events without a readable time.
    pub(crate) untimed: u64,
}

/// Reads all inputs and matches every event.
pub(crate) fn gather<'a>(
    plan: &Arc<MatchPlan>,
    inputs: &'a Discovery,
    options: &HuntOptions,
    progress: &Progress,
) -> Result<Gathered<'a>, HuntError> {
    let workers: Vec<Mutex<Worker>> =
        (0..options.jobs.get()).map(|number| Mutex::new(Worker::new(number, plan))).collect();
    let read_options = ReadOptions {
        jobs: options.jobs,
        batch_rows: options.batch_rows,
        order_by: options.order_by,
        window: options.window,
        hash: options.hash_inputs,
        cancel: options.cancel.as_deref(),
        ..ReadOptions::default()
    };
    let read = eqlipse_events::read(inputs, plan.rules().schema(), &read_options, progress, |number| {
        let worker = &workers[number];
        move |batch: &EventBatch| worker.lock().unwrap_or_else(PoisonError::into_inner).take(batch, progress)
    })?;
    let workers = workers.into_iter().map(|worker| worker.into_inner().unwrap_or_else(PoisonError::into_inner));
    merge(plan, workers.collect(), inputs, read)
}

fn merge<'a>(
    plan: &MatchPlan,
    mut workers: Vec<Worker>,
    inputs: &'a Discovery,
    read: ReadReport,
) -> Result<Gathered<'a>, HuntError> {
    if let Some(error) = workers.iter_mut().find_map(|worker| worker.failure.take()) {
        return Err(HuntError::Spool(error));
    }
    let rules = plan.rules();
    let duplicates = duplicates(workers.iter_mut().map(|worker| std::mem::take(&mut worker.identities)));
    let untimed = workers.iter().map(|worker| worker.untimed).sum();
    let mut coverage = Coverage::new(rules);
    workers.iter().for_each(|worker| coverage.merge(&worker.coverage));
    let (collectors, spools): (Vec<_>, Vec<_>) =
        workers.into_iter().map(|worker| (worker.collector, worker.spool)).unzip();
    let documents = Documents::new(spools, Collector::merge(rules, collectors), inputs);
    Ok(Gathered { documents, coverage, read, duplicates, untimed })
}

/// How many identities stand more than once, each beyond the first counted.
fn duplicates(lists: impl Iterator<Item = Vec<u128>>) -> u64 {
    let mut identities: Vec<u128> = lists.flatten().collect();
    identities.sort_unstable();
    let before = identities.len();
    identities.dedup();
    (before - identities.len()) as u64
}
