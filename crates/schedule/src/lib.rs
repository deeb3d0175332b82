//! The scheduler: each rule runs at its interval over its window, and nothing falls between two windows.
//!
//! ```text
//! due windows ──> parts of the window ──> correlate ──> what is not known yet ──> alerts + ledger, one transaction
//! [`window`]      [`eqlipse_store`]       [`evaluate`]      [`execute`]           [`eqlipse_control`]
//! ```
//!
//! Matching was done when the events came in, so that an execution is correlation alone, for all rules with the same
//! window together.
//!
//! * **Windows** end at multiples of a rule's interval since the epoch, whenever the service was started. The ledger has
//!   the end of the last window that was evaluated; every later one that is over is due, oldest first, however many there
//!   are.
//! * **Time** in a window is `event.ingested` where the rule's `timestamp_override` says so, which the store sets itself
//!   and in order: when a window is evaluated, nothing can arrive in it any more. Rules that go by `@timestamp` also look
//!   at what arrived since their last window and is older, up to a bound.
//! * **Alerts** have ids that are hashes of their events, so that a window that is evaluated twice gives nothing twice.

mod active;
mod evaluate;
mod execute;
mod scheduler;
mod window;

pub use active::{ActiveRule, ActiveRules, fingerprint};
pub use evaluate::{EvaluateError, Evaluated, Finding, FoundEvent, evaluate, too_many};
pub use execute::{Builder, Preview, PreviewedWindow};
pub use scheduler::{BrokenOff, Clock, ScheduleError, ScheduleOptions, Scheduler, SchedulerStatus, SystemClock};
pub use window::{DueWindow, RuleWindow, due_ends};
