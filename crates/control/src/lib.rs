//! Control data of the service in one SQLite file: rules, alerts, the ledger of executions, users, what was done.
//!
//! Reading and writing do not wait for each other. A change is one transaction with the audit entry that tells of it, and
//! on disk when the call returns.

mod alerts;
mod audit;
mod database;
mod error;
mod executions;
mod rules;
mod users;

pub use alerts::{AlertChange, AlertQuery, NewAlert, WorkflowStatus};
pub use audit::AuditEntry;
pub use database::Control;
pub use error::ControlError;
pub use executions::{Execution, ExecutionStatus, WindowKind};
pub use rules::{InstallReport, RuleKey, StoredRule};
pub use users::{ApiKey, Identity, NewApiKey, Role, User};
