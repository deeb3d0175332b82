//! What hunt and query share: reading all events, matching them, and putting together what matched.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use eqlipse_batch::EventBatch;
use eqlipse_engine::{
    Collector, CorrelateOptions, Correlated, Coverage, Detection, MatchPlan, Matcher, RuleSet, correlate,
};
use eqlipse_events::{Discovery, Progress, ReadOptions, ReadReport};

use crate::documents::{Documents, handle};
use crate::identities::Identities;
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
    identities: Identities,
    untimed: u64,
}

impl Worker {
    fn new(number: usize, plan: &Arc<MatchPlan>, limit: usize) -> Self {
        let rules = plan.rules();
        Self {
            number,
            rules: rules.clone(),
            matcher: Matcher::new(plan.clone()),
            collector: Collector::with_limit(rules.clone(), limit),
            coverage: Coverage::new(rules),
            spool: Spool::default(),
            failure: None,
            identities: Identities::default(),
            untimed: 0,
        }
    }

    fn take(&mut self, batch: &EventBatch, progress: &Progress) {
        if let Err(error) = self.identities.extend(batch.rows().iter().filter_map(|row| row.identity)) {
            self.failure.get_or_insert(error);
        }
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

/// What the rules found, and what must be known of the reading.
pub(crate) struct Gathered<'a> {
    /// What all rules found, rule by rule, pipes included.
    pub(crate) detections: Vec<Detection>,
    /// By rule: how many it found before its pipes.
    pub(crate) found: Vec<u64>,
    /// The events of the detections and their documents.
    pub(crate) documents: Documents<'a>,
    pub(crate) coverage: Coverage,
    pub(crate) read: ReadReport,
    /// Events that had been read before.
    pub(crate) duplicates: u64,
    /// Events without a readable time.
    pub(crate) untimed: u64,
}

/// Reads all inputs, matches every event and correlates what matched.
pub(crate) fn gather<'a>(
    plan: &Arc<MatchPlan>,
    inputs: &'a Discovery,
    options: &HuntOptions,
    correlate_options: &CorrelateOptions,
    progress: &Progress,
) -> Result<Gathered<'a>, HuntError> {
    let limit = options.memory_limit / options.jobs.get();
    let workers: Vec<Mutex<Worker>> =
        (0..options.jobs.get()).map(|number| Mutex::new(Worker::new(number, plan, limit))).collect();
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
    conclude(plan, workers.collect(), inputs, read, correlate_options)
}

fn conclude<'a>(
    plan: &MatchPlan,
    mut workers: Vec<Worker>,
    inputs: &'a Discovery,
    read: ReadReport,
    options: &CorrelateOptions,
) -> Result<Gathered<'a>, HuntError> {
    if let Some(error) = workers.iter_mut().find_map(|worker| worker.failure.take()) {
        return Err(HuntError::Spool(error));
    }
    let rules = plan.rules();
    let identities = workers.iter_mut().map(|worker| std::mem::take(&mut worker.identities)).collect();
    let duplicates = Identities::repeated(identities).map_err(HuntError::Spool)?;
    let untimed = workers.iter().map(|worker| worker.untimed).sum();
    let mut coverage = Coverage::new(rules);
    workers.iter().for_each(|worker| coverage.merge(&worker.coverage));
    let (collectors, spools): (Vec<_>, Vec<_>) =
        workers.into_iter().map(|worker| (worker.collector, worker.spool)).unzip();
    let Correlated { matched, detections, found } = correlate(rules, collectors, options).map_err(HuntError::Spool)?;
    let documents = Documents::new(spools, matched, inputs);
    Ok(Gathered { detections, found, documents, coverage, read, duplicates, untimed })
}
