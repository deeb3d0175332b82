//! The data folder of a service: to look at its events, and where it is not running, to look after them and to run rules
//! over the past.

use eqlipse_control::{Control, Execution, RuleKey, WindowKind};
use eqlipse_schedule::{Scheduler, SystemClock};
use eqlipse_store::{NewDocument, RecoveryReport, Store, StoreView};
use std::sync::Arc;

use crate::config::Config;
use crate::dead_letters::{DeadLetters, ReplayError, Replayed};
use crate::start::{ServeError, schedule_options, segment_place, store_options};

/// The events of a data folder at this moment, whether a service uses it or not.
///
/// # Errors
/// If there is no store, or it cannot be read.
pub fn view(config: &Config) -> Result<StoreView, ServeError> {
    Ok(Store::view_at(&config.server.data.join("events"), &segment_place(&config.store)?)?)
}

/// An opened data folder. While it is open, no service can use it.
pub struct Offline {
    /// Events.
    pub store: Store,
    /// Rules, alerts, ledger.
    pub control: Control,
    /// What was found when it was opened.
    pub recovered: RecoveryReport,
    scheduler: Scheduler,
    dead_letters: DeadLetters,
}

impl Offline {
    /// Opens the data folder that the settings name. It must be there.
    ///
    /// # Errors
    /// If it is not there, cannot be read, or a service uses it.
    pub fn open(config: &Config) -> Result<Self, ServeError> {
        let data = &config.server.data;
        let path = data.join("control.sqlite");
        std::fs::metadata(&path).map_err(ServeError::io(&path))?;
        let control = Control::open(&path)?;
        let active = Scheduler::enabled_rules(&control)?;
        let (store, recovered) = Store::open(&data.join("events"), store_options(config)?, active.compiled.clone())?;
        let options = schedule_options(config);
        let scheduler = Scheduler::new(store.clone(), control.clone(), active, options, Arc::new(SystemClock))?;
        let dead_letters = DeadLetters::new(DeadLetters::folder_of(data), config.dead_letters.clone());
        Ok(Self { store, control, recovered, scheduler, dead_letters })
    }

    /// Runs a rule, by its `rule_id`, over the events from one time to another, both in nanoseconds since the Unix epoch.
    ///
    /// # Errors
    /// If there is no such rule, it cannot run, or the data cannot be read or written.
    pub fn backfill(&self, rule_id: &str, from: i64, to: i64) -> Result<Vec<Execution>, ServeError> {
        let done = self.scheduler.backfill(&RuleKey::RuleId(rule_id), WindowKind::Backfill, from, to);
        Ok(done.map_err(|broken_off| broken_off.error)?)
    }

    /// Offers what was refused to the store again.
    ///
    /// # Errors
    /// If the store or the files of dead letters cannot be read or written.
    pub fn replay_dead_letters(&self) -> Result<Replayed, ReplayError> {
        let mut offer = |documents: &[NewDocument]| self.store.ingest(documents, crate::now());
        self.dead_letters.replay(&mut offer, &|| true)
    }

    /// Ends the work in order.
    ///
    /// # Errors
    /// If recent events could not be written to segments: they are in the log.
    pub fn close(self) -> Result<(), ServeError> {
        Ok(self.store.close()?)
    }
}
