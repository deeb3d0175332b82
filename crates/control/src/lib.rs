//! Control data of the service in one SQLite file: rules, alerts, the ledger of executions, users, what was done.
//!
//! Reading and writing do not wait for each other. A change is one transaction with the audit entry that tells of it, and
//! on disk when the call returns.

mod alerts;
mod audit;
mod customized;
mod database;
mod error;
mod executions;
mod gate;
mod install;
mod manual_runs;
mod rules;
#[cfg(test)]
mod testing;
mod users;

pub use alerts::{AlertChange, AlertNote, AlertOrder, AlertQuery, NewAlert, TakeAlert, WorkflowStatus};
pub use audit::AuditEntry;
pub use database::Control;
pub use error::ControlError;
pub use executions::{Execution, ExecutionStatus, LedgerSummary, TimeBasis, WindowKind};
pub use install::InstallReport;
pub use rules::{RuleKey, StoredRule};
pub use users::{About, ApiKey, Identity, NewApiKey, Permission, Role, User, UserUpdate};
