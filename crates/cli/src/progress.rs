//! The progress bar on standard error.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use eqlipse_events::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::text::grouped;

/// How often the bar is drawn.
const TICK: Duration = Duration::from_millis(100);

const BAR: &str = "{spinner} {wide_bar} {bytes} of {total_bytes}, {msg}, {bytes_per_sec}, {eta} left";
const SPINNER: &str = "{spinner} {bytes} read, {msg}, {bytes_per_sec}, {elapsed}";

/// Runs `work` with a bar that follows `progress`; none unless `shown` and standard error is a terminal.
pub fn with_bar<T>(shown: bool, progress: &Progress, work: impl FnOnce() -> T) -> T {
    if !shown {
        return work();
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if bar.is_hidden() {
        return work();
    }
    bar.set_style(style(SPINNER));
    thread::scope(|scope| {
        // Dropping the sender, on a panic too, ends the thread.
        let (done, ended) = mpsc::channel::<()>();
        let bar = &bar;
        scope.spawn(move || {
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                draw(bar, progress);
            }
            bar.finish_and_clear();
        });
        let result = work();
        drop(done);
        result
    })
}

fn draw(bar: &ProgressBar, progress: &Progress) {
    let (bytes, total, events) = (progress.bytes(), progress.total_bytes(), progress.events());
    if total > 0 && bar.length().is_none() {
        bar.set_style(style(BAR));
        bar.set_length(total);
    }
    let seconds = bar.elapsed().as_secs_f64().max(0.001);
    let rate = (events as f64 / seconds) as u64;
    let alerts = grouped(progress.alerts());
    bar.set_message(format!("{} events, {} events/s, {alerts} alerts", grouped(events), grouped(rate)));
    bar.set_position(bytes);
    bar.tick();
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_well_formed() {
        for template in [BAR, SPINNER] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn work_is_done_with_and_without() {
        let progress = Progress::default();
        assert_eq!(with_bar(false, &progress, || 1), 1);
        assert_eq!(with_bar(true, &progress, || 2), 2);
    }
}
