//! `eqlipse serve`, and what goes with it: `config`, `store`, `backfill`.

use std::time::Duration;

use eqlipse_control::ExecutionStatus;
use eqlipse_events::Window;
use eqlipse_rules::RuleLoad;
use eqlipse_server::config::{Config, Time};
use eqlipse_server::{Offline, ServeError};
use eqlipse_store::{CheckReport, StoreError, StoreView, TimeRange};
use jiff::Timestamp;

use crate::args::{BackfillArgs, ConfigArgs, ConfigCommand, ConfigSource, ServeArgs, StoreArgs, StoreCommand};
use crate::data_folder;
use crate::date::{Edge, parse};
use crate::exit::{CliError, Exit};
use crate::memory;
use crate::output::{Messages, Output};
use crate::text::{byte_size, counted, grouped, shown};

/// How often rules run in a demonstration.
const DEMO_TICK: Duration = Duration::from_secs(1);

fn failed(error: &ServeError) -> CliError {
    CliError::Run(error.to_string())
}

/// The settings from file and environment.
pub fn settings(source: &ConfigSource) -> Result<Config, CliError> {
    // A variable that is no text is none of ours.
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut config =
        Config::load(source.config.as_deref(), variables).map_err(|error| CliError::Usage(error.to_string()))?;
    if let Some(data) = &source.data {
        config.server.data.clone_from(data);
    }
    Ok(config)
}

/// Runs the service until it is told to end.
pub fn serve(args: &ServeArgs) -> Result<Exit, CliError> {
    memory::keep_freed();
    let mut config = settings(&args.config)?;
    config.server.listen = args.listen.unwrap_or(config.server.listen);
    config.server.insecure |= args.insecure;
    config.rules.paths.extend(args.rules.iter().cloned());
    if let Some(tick) = &args.tick {
        let tick: Time =
            tick.parse().map_err(|error| CliError::Usage(format!("invalid value for '--tick': {error}")))?;
        if tick.0.is_zero() {
            return Err(CliError::Usage("invalid value for '--tick': it must be more than 0".to_owned()));
        }
        config.schedule.tick = Some(tick);
    }
    if args.demo && config.schedule.tick.is_none() {
        config.schedule.tick = Some(Time(DEMO_TICK));
    }
    eqlipse_server::log_to_stderr(&config).map_err(|error| failed(&error))?;
    let RuleLoad { rules: bundled, .. } = crate::bundled::bundled();
    let runtime = runtime()?;
    let terminated = {
        let _context = runtime.enter();
        eqlipse_server::terminated()
    };
    let served = runtime.block_on(eqlipse_server::serve(config, bundled, args.demo, terminated));
    served.map_err(|error| failed(&error))?;
    Ok(Exit::Done)
}

fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| CliError::Run(format!("no threads for the service: {error}")))
}

/// Writes or checks settings.
pub fn config(args: &ConfigArgs, messages: Messages) -> Result<Exit, CliError> {
    match &args.command {
        ConfigCommand::Init => {
            let mut output = Output::open(None)?;
            output.write(|out| out.write_all(Config::example().as_bytes()))?;
            output.finish()?;
        }
        ConfigCommand::Check(source) => {
            let config = settings(source)?;
            runtime()?.block_on(eqlipse_server::check(&config)).map_err(|error| failed(&error))?;
            messages.note(&format!("in order; it would listen on {}", config.server.listen));
            messages.note(&format!("and keep its data in {}", shown(&config.server.data.display().to_string())));
        }
    }
    Ok(Exit::Done)
}

/// Looks after stored events.
pub fn store(args: &StoreArgs, messages: Messages) -> Result<Exit, CliError> {
    let view = |source| data_folder::view_of(&settings(source)?, messages);
    match &args.command {
        StoreCommand::Stats(source) => stats(&view(source)?),
        StoreCommand::Export(source) => export(&view(source)?),
        StoreCommand::Check(source) => match Offline::open(&settings(source)?) {
            // Which objects nobody needs, only the service itself can say.
            Err(ServeError::Store(StoreError::Locked(_))) => {
                let view = view(source)?;
                Ok(check(&view.snapshot.check(), view.damaged.is_empty(), messages))
            }
            offline => alone(offline, messages, |offline| {
                Ok(check(&offline.store.check(), offline.recovered.missing.is_empty(), messages))
            }),
        },
        StoreCommand::Prune(source) => {
            alone(Offline::open(&settings(source)?), messages, |offline| prune(offline, messages))
        }
    }
}

/// Does something with a data folder that no service uses.
fn alone(
    offline: Result<Offline, ServeError>,
    messages: Messages,
    act: impl FnOnce(&Offline) -> Result<Exit, CliError>,
) -> Result<Exit, CliError> {
    let offline = offline.map_err(|error| failed(&error))?;
    for path in offline.recovered.quarantined.iter().chain(&offline.recovered.missing) {
        messages.error(&format!("damaged or missing: {}", shown(&path.display().to_string())));
    }
    let done = act(&offline);
    offline.close().map_err(|error| failed(&error))?;
    done
}

fn stats(view: &StoreView) -> Result<Exit, CliError> {
    let stats = view.stats();
    let events = stats.recent_events + stats.segment_events;
    let lines = [
        ("events", grouped(events)),
        ("data streams", grouped(view.snapshot.data_streams().len() as u64)),
        ("segments", grouped(stats.segments)),
        ("bytes of segments", byte_size(stats.segment_bytes)),
        ("events in the log", grouped(stats.recent_events)),
        ("bytes of the log", byte_size(stats.log_bytes)),
    ];
    let objects = stats.objects.map(|objects| {
        [("bytes on this disk", byte_size(objects.local_bytes)), ("segments to send", grouped(objects.waiting))]
    });
    let lines: Vec<_> = lines.into_iter().chain(objects.into_iter().flatten()).collect();
    let mut output = Output::open(None)?;
    output.write(|out| lines.iter().try_for_each(|(name, value)| writeln!(out, "{name:<18} {value:>12}")))?;
    output.finish()?;
    Ok(Exit::Done)
}

fn check(report: &CheckReport, is_all_there: bool, messages: Messages) -> Exit {
    for problem in &report.problems {
        messages.error(&shown(&problem.to_string()));
    }
    for orphan in &report.orphans {
        messages.warning(&format!("no segment has this object, `store prune` removes it: {}", shown(orphan)));
    }
    for path in &report.quarantined {
        messages.error(&format!("in quarantine, its events are not looked at: {}", shown(&path.display().to_string())));
    }
    messages.note(&format!("{}, {} damaged", counted(report.segments, "segment"), report.problems.len()));
    if report.objects > 0 {
        messages.note(&format!("{} compared in the object store too", counted(report.objects, "segment")));
    }
    let is_sound = report.problems.is_empty() && report.quarantined.is_empty() && is_all_there;
    if is_sound { Exit::Done } else { Exit::Failed }
}

fn export(view: &StoreView) -> Result<Exit, CliError> {
    let mut output = Output::open(None)?;
    for part in view.snapshot.parts(&TimeRange { timestamp: Window::default(), ingested: Window::default() }) {
        for row in 0..part.rows() {
            let mut hit = part.hit(row).map_err(|error| CliError::Run(error.to_string()))?;
            hit.push(b'\n');
            output.write(|out| out.write_all(&hit))?;
        }
    }
    output.finish()?;
    Ok(Exit::Done)
}

fn prune(offline: &Offline, messages: Messages) -> Result<Exit, CliError> {
    let pruned = offline.store.prune(eqlipse_server::now()).map_err(|error| CliError::Run(error.to_string()))?;
    messages.note(&format!("{} removed", counted(pruned, "segment")));
    let orphans = offline.store.remove_orphans().map_err(|error| CliError::Run(error.to_string()))?;
    if orphans > 0 {
        messages.note(&format!("{} that no segment had removed from the object store", counted(orphans, "object")));
    }
    Ok(Exit::Done)
}

/// Runs rules over the past.
pub fn backfill(args: &BackfillArgs, messages: Messages) -> Result<Exit, CliError> {
    let now = Timestamp::now();
    let time = |option, text: &str, edge| parse(text, now, edge).map_err(|error| CliError::Time { option, error });
    let (from, to) = (time("--from", &args.from, Edge::First)?, time("--to", &args.to, Edge::Last)?);
    if from > to {
        return Err(CliError::Usage("--from is later than --to".to_owned()));
    }
    let offline = Offline::open(&settings(&args.config)?).map_err(|error| failed(&error))?;
    let rules = match args.rule.is_empty() {
        false => args.rule.clone(),
        true => {
            let rules = offline.control.rules().map_err(|error| CliError::Run(error.to_string()))?;
            let runs = rules.iter().filter(|rule| rule.enabled && rule.rule.eql().is_some());
            runs.map(|rule| rule.rule.rule_id.clone()).collect()
        }
    };
    let (mut windows, mut alerts, mut capped, mut failed_windows) = (0, 0, 0, 0);
    for rule in &rules {
        let executions = offline.backfill(rule, from, to).map_err(|error| CliError::Run(format!("{rule}: {error}")))?;
        windows += executions.len() as u64;
        alerts += executions.iter().map(|execution| execution.new_alerts).sum::<u64>();
        capped += executions.iter().filter(|execution| execution.capped > 0).count() as u64;
        let failed = executions.iter().filter(|execution| execution.status == ExecutionStatus::Failed);
        failed_windows += failed.clone().count() as u64;
        // One of a rule says what is the matter.
        for execution in failed.take(1) {
            messages.error(&format!("{}: {}", shown(rule), shown(&execution.message)));
        }
    }
    offline.close().map_err(|error| failed(&error))?;
    let (rules, windows) = (counted(rules.len() as u64, "rule"), counted(windows, "window"));
    messages.note(&format!("{rules} over {windows}: {}", counted(alerts, "new alert")));
    if capped > 0 {
        messages.warning(&format!("{} reached the rule's limit of alerts (max_signals)", counted(capped, "window")));
    }
    if failed_windows > 0 {
        messages.error(&format!("{} could not be evaluated", counted(failed_windows, "window")));
        return Ok(Exit::Failed);
    }
    Ok(Exit::Done)
}
