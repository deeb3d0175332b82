//! The options of the service's commands.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

/// Run the detection service
///
/// Takes events in over HTTP as Elasticsearch does (_bulk), keeps them, runs every enabled rule on its schedule, keeps the
/// alerts, and answers the APIs of Elasticsearch and Kibana. Everything is in one data folder. At the first start, the
/// bundled rules are installed and enabled, and a password for the user 'admin' is printed, once.
///
/// SIGTERM and Ctrl-C end it in order; SIGHUP reads rules, certificate and key again.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  eqlipse serve --demo
      a simulated fleet with attacks: alerts within seconds
  eqlipse serve --data /var/lib/eqlipse --rules /etc/eqlipse/rules
      your rules beside the bundled ones
  eqlipse config init > eqlipse.toml && eqlipse serve --config eqlipse.toml
      every setting in a file
  EQLIPSE_AUTH_ADMIN_PASSWORD=… eqlipse serve
      settings from the environment: EQLIPSE_SECTION_SETTING
  curl -u admin:… localhost:9280/_bulk -H 'Content-Type: application/x-ndjson' --data-binary @events.ndjson
      send events")]
pub struct ServeArgs {
    #[command(flatten)]
    pub config: ConfigSource,
    /// Address and port to listen on [default: 127.0.0.1:9280]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Files and folders of rules, installed beside the bundled ones and enabled; may be repeated
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub rules: Vec<PathBuf>,
    /// Run rules at least so often, such as '1s', whatever their interval
    #[arg(long, value_name = "TIME")]
    pub tick: Option<String>,
    /// Listen outside loopback without TLS, where something else sees to it
    #[arg(long)]
    pub insecure: bool,
    /// Simulate a fleet of hosts that sends events, with attacks, and run rules every second
    #[arg(long)]
    pub demo: bool,
}

/// Where settings come from.
#[derive(Debug, Args)]
pub struct ConfigSource {
    /// Settings; see 'eqlipse config init'
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath, env = "EQLIPSE_CONFIG")]
    pub config: Option<PathBuf>,
    /// The folder of all data [default: eqlipse-data]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub data: Option<PathBuf>,
}

/// Settings of the service
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// What to do with settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Write a file with every setting, what it means, and its default
    #[command(after_long_help = "Examples:\n  eqlipse config init > eqlipse.toml")]
    Init,
    /// Read the settings, from file and environment, and say what is wrong with them
    #[command(after_long_help = "Examples:\n  eqlipse config check --config eqlipse.toml")]
    Check(ConfigSource),
}

/// Look after the events of a service, whether it is running or not
///
/// Only 'prune' changes something: the service must not be running then.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: StoreCommand,
}

/// What to do with the store.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Say how many events there are, and how large they are
    Stats(ConfigSource),
    /// Read every segment and compare it with its checksum; exit code 1 if one is damaged
    Check(ConfigSource),
    /// Write all events as NDJSON hits
    #[command(after_long_help = "Examples:\n  eqlipse store export --data eqlipse-data | eqlipse hunt -")]
    Export(ConfigSource),
    /// Remove events beyond the limits of age and size (store.retention_age, store.retention_size)
    Prune(ConfigSource),
}

/// Run rules over stored events of the past, with the events' own time as the clock
///
/// The service must not be running. Alerts that are there already are not made again.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  eqlipse backfill --from now-30d --to now-1d
      all enabled rules
  eqlipse backfill --from 2026-03-01 --to 2026-03-02 --rule c2d90150-0000-4a8a-8cc9-c6b4d2bbc0ae
      one rule, by its rule_id")]
pub struct BackfillArgs {
    #[command(flatten)]
    pub config: ConfigSource,
    /// Where the past begins: '2026-03-01', '2026-03-01T12:00:00Z' or date math such as 'now-7d'
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub from: String,
    /// Where it ends
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true)]
    pub to: String,
    /// A rule's rule_id; all enabled rules without it; may be repeated
    #[arg(long, value_name = "RULE_ID")]
    pub rule: Vec<String>,
}
