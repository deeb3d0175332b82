//! Removes what is older than it is to be kept: alerts, ledger, audit log. The store sees to its events itself.

use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use eqlipse_control::ControlError;

use crate::config::Time;
use crate::state::App;

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(600);

/// Looks now and again until the service stops; then it wants to be woken.
pub(crate) fn start(app: &App) -> std::io::Result<JoinHandle<()>> {
    let app = app.clone();
    thread::Builder::new().name("eqlipse-retention".to_owned()).spawn(move || {
        while !app.stopping.load(Ordering::Relaxed) {
            if let Err(error) = prune(&app, crate::now()) {
                tracing::error!(%error, "what is too old could not be removed");
            }
            thread::park_timeout(PERIOD);
        }
    })
}

/// Removes what is too old `now`.
fn prune(app: &App, now: i64) -> Result<(), ControlError> {
    let before = |age: Time| now.saturating_sub(i64::try_from(age.0.as_nanos()).unwrap_or(i64::MAX));
    let retention = &app.config.retention;
    let alerts = retention.alerts.map_or(Ok(0), |age| app.control.prune_alerts(before(age)))?;
    let executions = app.control.prune_executions(before(retention.ledger))?;
    let audit = retention.audit.map_or(Ok(0), |age| app.control.prune_audit(before(age)))?;
    if alerts + executions + audit > 0 {
        tracing::debug!(alerts, executions, audit, "what was too old was removed");
    }
    Ok(())
}
