//! The options of the commands that ask a running service.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::ConfigSource;

/// How to reach a running service.
#[derive(Debug, Args)]
pub struct ServiceSource {
    /// Where the service listens [default: where the settings say]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, env = "EQLIPSE_URL", help_heading = "Service")]
    pub url: Option<String>,
    /// The user; the password is EQLIPSE_PASSWORD, or in --password-file [default: the first user, as the settings name it]
    #[arg(long, value_name = "NAME", env = "EQLIPSE_USER", help_heading = "Service")]
    pub user: Option<String>,
    /// A file with the user's password
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Service")]
    pub password_file: Option<PathBuf>,
    /// A file with an API key in its encoded form, in place of a user; EQLIPSE_API_KEY does it too
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Service")]
    pub api_key_file: Option<PathBuf>,
    /// PEM file with the certificates that the service's is to be signed by [default: those of public authorities, and
    /// what server.tls.cert names]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Service")]
    pub ca: Option<PathBuf>,
}

/// Say how a running service is
///
/// What comes in, how far behind it is, what is stored, which rules fail, and what the ledger has. The exit code says
/// whether it is healthy: that events are kept, and every rule looked at every window.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  EQLIPSE_PASSWORD=… eqlipse status
  eqlipse status --url https://events.example.com:9280 --api-key-file key --json
  eqlipse status --watch 2s

Exit codes:
  0  healthy
  1  not healthy, or the service does not answer
  2  the command line is wrong")]
pub struct StatusArgs {
    #[command(flatten)]
    pub config: ConfigSource,
    #[command(flatten)]
    pub service: ServiceSource,
    /// How far back the ledger is summed up, in hours
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=8760))]
    pub hours: u32,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
    /// Again and again, as often as this says, until Ctrl-C
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "2s")]
    pub watch: Option<String>,
}

/// What was refused, and why; and try it again
#[derive(Debug, Args)]
pub struct DeadLettersArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DeadLettersCommand,
}

/// What to do with refused documents.
#[derive(Debug, Subcommand)]
pub enum DeadLettersCommand {
    /// Show the latest refused documents, newest first, out of the data folder or of a service elsewhere (--url)
    #[command(after_long_help = "Examples:\n  eqlipse dead-letters list --data eqlipse-data\n  \
        eqlipse dead-letters list --json | jq -r .reason | sort | uniq -c")]
    List(ListLettersArgs),
    /// Offer refused documents to the store again: those that it takes leave the dead letters, the others stay
    ///
    /// The running service is asked to do it; where none runs on the data folder, it is done here. Broken off, it can be
    /// run again: no event is stored twice.
    #[command(after_long_help = "\
Examples:
  EQLIPSE_LIMITS_DOCUMENT_BYTES=32MiB eqlipse dead-letters replay --data eqlipse-data
  EQLIPSE_API_KEY=… eqlipse dead-letters replay --url https://events.example.com:9280 --json

Exit codes:
  0  done, even if some were refused again
  1  it could not be done
  2  the command line is wrong")]
    Replay(ReplayLettersArgs),
}

/// Which dead letters to show.
#[derive(Debug, Args)]
pub struct ListLettersArgs {
    #[command(flatten)]
    pub config: ConfigSource,
    #[command(flatten)]
    pub service: ServiceSource,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    /// One JSON object a line, with the whole document
    #[arg(long)]
    pub json: bool,
}

/// How to replay.
#[derive(Debug, Args)]
pub struct ReplayLettersArgs {
    #[command(flatten)]
    pub config: ConfigSource,
    #[command(flatten)]
    pub service: ServiceSource,
    /// One JSON object with what became of them
    #[arg(long)]
    pub json: bool,
}
