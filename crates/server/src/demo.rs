//! `--demo`: a simulated fleet sends its events, with an attack now and then, so that a newcomer sees alerts at once.

use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use eqlipse_fleet::Stream;
use eqlipse_store::NewDocument;
use serde_json::Value;

use crate::metrics::DocumentResult;
use crate::state::App;

/// Hosts of the fleet.
const HOSTS: usize = 40;
/// How often they send.
const PERIOD: Duration = Duration::from_millis(200);
/// How many events each time: 50 a second.
const EVENTS: usize = 10;
/// One attack in so many events: one in five seconds.
const ATTACK_EVERY: u64 = 250;

/// Sends events until the service stops.
pub(crate) fn start(app: &App) -> std::io::Result<JoinHandle<()>> {
    let app = app.clone();
    thread::Builder::new().name("eqlipse-demo".to_owned()).spawn(move || {
        let seed = crate::now() as u64;
        let mut fleet = Stream::new(seed, HOSTS).with_attacks(ATTACK_EVERY);
        while !app.stopping.load(Ordering::Relaxed) {
            let now = crate::now();
            let documents: Vec<NewDocument> =
                (0..EVENTS).map(|_| document(&fleet.at((now / 1_000_000) as u64))).collect();
            // What is turned away for a moment is not missed here.
            match app.store.ingest(documents, now) {
                Ok(taken) => {
                    let stored = taken.iter().filter(|result| result.is_ok()).count();
                    app.metrics.documents(DocumentResult::Stored, stored as u64);
                }
                Err(error) => tracing::warn!(%error, "simulated events were not taken"),
            }
            thread::sleep(PERIOD);
        }
    })
}

fn document(event: &Value) -> NewDocument {
    let dataset = event["data_stream"]["dataset"].as_str().unwrap_or("generic");
    NewDocument { index: format!("logs-{dataset}-demo").into(), id: None, document: event.to_string().into() }
}
