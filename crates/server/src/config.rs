//! Settings: `eqlipse.toml`, and the environment above it.
//!
//! Every setting has a default, a line in [`Config::example`] that says what it means, and a variable
//! `EQLIPSE_SECTION_SETTING` that overrides it. A file that names a setting which does not exist is refused, with the line.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use toml::{Table, Value};

/// All settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where it listens and keeps its data.
    pub server: ServerConfig,
    /// What requests may take.
    pub limits: LimitsConfig,
    /// How events are kept.
    pub store: StoreConfig,
    /// When rules run.
    pub schedule: ScheduleConfig,
    /// Which rules run.
    pub rules: RulesConfig,
    /// Files that are read as they grow.
    pub input: InputConfig,
    /// How long what rules made is kept.
    pub retention: RetentionConfig,
    /// Who may log in.
    pub auth: AuthConfig,
    /// Documents that were refused.
    pub dead_letters: DeadLettersConfig,
    /// What the service says about itself.
    pub log: LogConfig,
}

/// `[server]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The folder of all data.
    pub data: PathBuf,
    /// The name that clients see as node and cluster.
    pub name: String,
    /// Host and port that clients are told to send to when they ask for nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<String>,
    /// Serve outside loopback without TLS.
    pub insecure: bool,
    /// Connections at a time; those beyond it are closed at once.
    pub connections: usize,
    /// How long requests under way may take when the service stops.
    pub shutdown_time: Time,
    /// Certificate and key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
}

/// `[server.tls]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file with the certificate and those that signed it.
    pub cert: PathBuf,
    /// PEM file with its private key.
    pub key: PathBuf,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// The longest body of a request, packed and unpacked.
    pub request_bytes: Size,
    /// The longest document.
    pub document_bytes: Size,
    /// The bodies of all requests under way together.
    pub body_memory: Size,
    /// How long a request with events waits for memory before its sender is told to try again.
    pub memory_time: Time,
    /// How long the head of a request may take to arrive.
    pub header_time: Time,
    /// How long a body may pause.
    pub idle_time: Time,
    /// How long a request may take from its head to its answer.
    pub request_time: Time,
    /// How long a query may run.
    pub query_time: Time,
    /// Memory for the events that one query has matched.
    pub query_memory: Size,
    /// Memory for sorting, grouping and joining of all SQL queries together.
    pub sql_memory: Size,
    /// The most rows that an SQL query may ask for.
    pub sql_rows: usize,
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Recent events and events under way; beyond it, clients are told to wait.
    pub memory: Size,
    /// Recent events are written to segments when they take so much.
    pub flush_bytes: Size,
    /// And when the oldest is so old.
    pub flush_age: Time,
    /// Memory for what matched in segments.
    pub cache_bytes: Size,
    /// Events for further data streams are refused.
    pub max_data_streams: usize,
    /// Events that arrived longer ago are removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_age: Option<Time>,
    /// The oldest events are removed while all segments together are larger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_size: Option<Size>,
    /// Where segments are kept: a folder, or a prefix in an object store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segments: Option<String>,
    /// Disk for copies of segments that are in an object store.
    pub segment_cache: Size,
    /// Address of an object store that is not Amazon's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_endpoint: Option<String>,
    /// The region of the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_region: Option<String>,
    /// The name of the access key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_access_key_id: Option<String>,
    /// A file with the secret access key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_secret_access_key_file: Option<PathBuf>,
    /// The secret access key: from `EQLIPSE_STORE_S3_SECRET_ACCESS_KEY` only, never from the file and never shown.
    #[serde(skip)]
    pub s3_secret_access_key: Option<Secret>,
    /// Talk to the object store without TLS.
    pub s3_allow_http: bool,
}

/// `[schedule]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// Run rules so often where their interval is longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tick: Option<Time>,
    /// How late an event may come and still be seen by a rule that goes by `@timestamp`.
    pub late_bound: Time,
    /// The most events of a window that a rule's filters may let through.
    pub rule_events: usize,
}

/// `[rules]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RulesConfig {
    /// Files and folders of rules, read at the start and on SIGHUP.
    pub paths: Vec<PathBuf>,
    /// Install the rules that come with eqlipse, and enable them.
    pub bundled: bool,
}

/// `[input]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InputConfig {
    /// Watched folders.
    pub folder: Vec<FolderConfig>,
}

/// `[[input.folder]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderConfig {
    /// The folder; with everything below it.
    pub path: PathBuf,
    /// The data stream that its events go to.
    #[serde(default = "FolderConfig::default_index")]
    pub index: String,
    /// Names of files that are read, as globs; all if there are none.
    #[serde(default)]
    pub include: Vec<String>,
    /// How often to look for what is new.
    #[serde(default = "FolderConfig::default_poll")]
    pub poll: Time,
}

impl FolderConfig {
    fn default_index() -> String {
        "logs-files-default".to_owned()
    }

    fn default_poll() -> Time {
        Time::seconds(1)
    }
}

/// `[retention]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionConfig {
    /// Alerts that are older are removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alerts: Option<Time>,
    /// Executions that ended longer ago are removed from the ledger.
    pub ledger: Time,
    /// Entries of the audit log that are older are removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<Time>,
}

/// `[auth]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// The first user, made when there is none.
    pub admin: String,
    /// A file with that user's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin_password_file: Option<PathBuf>,
    /// That user's password: from `EQLIPSE_AUTH_ADMIN_PASSWORD` only, never from the file and never shown.
    #[serde(skip)]
    pub admin_password: Option<Secret>,
    /// Failed logins for an address, and for a user, within `login_window`; further ones are not looked at.
    pub login_failures: u32,
    /// See there.
    pub login_window: Time,
    /// How long a password or key that was right is known to be without looking again.
    pub cache_time: Time,
    /// Answer `/metrics` without credentials.
    pub open_metrics: bool,
}

/// `[dead_letters]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadLettersConfig {
    /// The most bytes of refused documents that are kept of a day.
    pub bytes_per_day: Size,
    /// Days after which their files are removed.
    pub days: u32,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// For people or for machines.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,eqlipse_store=debug`.
    pub level: String,
}

/// How lines of the log look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line of text.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9280),
            data: PathBuf::from("eqlipse-data"),
            name: "eqlipse".to_owned(),
            publish: None,
            insecure: false,
            connections: 1024,
            shutdown_time: Time::seconds(30),
            tls: None,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            request_bytes: Size::mebibytes(100),
            document_bytes: Size::mebibytes(16),
            body_memory: Size::mebibytes(512),
            memory_time: Time::seconds(5),
            header_time: Time::seconds(30),
            idle_time: Time::seconds(30),
            request_time: Time::seconds(120),
            query_time: Time::seconds(60),
            query_memory: Size::mebibytes(64),
            sql_memory: Size::mebibytes(256),
            sql_rows: 10_000,
        }
    }
}

/// What `store.segments` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SegmentsAt {
    /// A folder.
    Folder(PathBuf),
    /// `s3://BUCKET/PREFIX`
    S3(String),
}

impl StoreConfig {
    /// Where segments are kept; `None` is the data folder.
    ///
    /// # Errors
    /// If `store.segments` is neither a folder nor a bucket.
    pub fn segments_at(&self) -> Result<Option<SegmentsAt>, ConfigError> {
        let wrong = |reason: &str| Err(ConfigError::Value(format!("store.segments {reason}")));
        let Some(place) = &self.segments else { return Ok(None) };
        match place.split_once("://") {
            Some(("s3", rest)) if rest.is_empty() || rest.starts_with('/') => {
                wrong("names no bucket: s3://BUCKET/PREFIX")
            }
            Some(("s3", _)) => Ok(Some(SegmentsAt::S3(place.clone()))),
            Some(("file", path)) if Path::new(path).is_absolute() => Ok(Some(SegmentsAt::Folder(path.into()))),
            Some(("file", _)) => wrong("is no file of this machine: file:///PATH"),
            Some((scheme, _)) => wrong(&format!("begins with {scheme}://; a folder and s3:// are what there is")),
            None if place.is_empty() => wrong("is empty"),
            None => Ok(Some(SegmentsAt::Folder(place.into()))),
        }
    }

    fn check_place(&self) -> Result<(), ConfigError> {
        let wrong = |message: &str| Err(ConfigError::Value(message.to_owned()));
        let is_remote = matches!(self.segments_at()?, Some(SegmentsAt::S3(_)));
        let is_plain = self.s3_endpoint.as_deref().is_some_and(|endpoint| !endpoint.starts_with("https://"));
        if is_plain && !self.s3_allow_http {
            return wrong("store.s3_endpoint is not https://, and store.s3_allow_http is not set");
        }
        let has_settings = self.s3_endpoint.is_some()
            || self.s3_region.is_some()
            || self.s3_access_key_id.is_some()
            || self.s3_secret_access_key_file.is_some();
        match has_settings && !is_remote {
            true => wrong("store.s3_… is set, and store.segments is not in an object store (s3://BUCKET/PREFIX)"),
            false => Ok(()),
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            memory: Size::mebibytes(512),
            flush_bytes: Size::mebibytes(128),
            flush_age: Time::seconds(300),
            cache_bytes: Size::mebibytes(256),
            max_data_streams: 1_000,
            retention_age: None,
            retention_size: None,
            segments: None,
            segment_cache: Size(10 << 30),
            s3_endpoint: None,
            s3_region: None,
            s3_access_key_id: None,
            s3_secret_access_key_file: None,
            s3_secret_access_key: None,
            s3_allow_http: false,
        }
    }
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self { tick: None, late_bound: Time::seconds(3600), rule_events: 1_000_000 }
    }
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self { paths: Vec::new(), bundled: true }
    }
}

impl Default for RetentionConfig {
    fn default() -> Self {
        Self { alerts: None, ledger: Time::seconds(30 * 86_400), audit: None }
    }
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            admin: "admin".to_owned(),
            admin_password_file: None,
            admin_password: None,
            login_failures: 10,
            login_window: Time::seconds(60),
            cache_time: Time::seconds(60),
            open_metrics: false,
        }
    }
}

impl Default for DeadLettersConfig {
    fn default() -> Self {
        Self { bytes_per_day: Size::mebibytes(1024), days: 30 }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

/// The most that `limits.request_bytes` may say: the events of a request are one entry of the store's log, which has at
/// most 1 GiB; and a byte that is no UTF-8 becomes three.
const MAX_REQUEST_BYTES: Size = Size::mebibytes(256);

/// Why the settings cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
    /// The file is no TOML, or has a setting or value that does not exist.
    #[error("{path}, line {line}, column {column}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong.
        reason: String,
    },
    /// A variable of the environment.
    #[error("environment variable {name}: {reason}")]
    Variable {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// Settings that do not go together.
    #[error("{0}")]
    Value(String),
}

/// A number of bytes: `64MiB`, `1GB`, `500` in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// So many MiB.
    pub const fn mebibytes(count: u64) -> Self {
        Self(count << 20)
    }

    /// As `usize`; what does not fit is all there is.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong =
            || format!("\"{text}\" is no size: write bytes, or a number with KiB, MiB, GiB, TiB, KB, MB, GB or TB");
        let (number, factor) = with_unit(text, &SIZES).unwrap_or((text, 1));
        let number: u64 = number.trim().parse().map_err(|_| wrong())?;
        number.checked_mul(factor).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, factor): &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(*factor);
        match SIZES[..4].iter().find(fits) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// A length of time: `500ms`, `30s`, `5m`, `1h`, `7d` in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

impl Time {
    /// So many seconds.
    pub const fn seconds(count: u64) -> Self {
        Self(Duration::from_secs(count))
    }
}

const TIMES: [(&str, u64); 5] = [("ms", 1), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

impl std::str::FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong = || format!("\"{text}\" is no length of time: write a number with ms, s, m, h or d");
        let (number, factor) = with_unit(text, &TIMES).ok_or_else(wrong)?;
        let number: u64 = number.trim().parse().map_err(|_| wrong())?;
        // Longer than a process can run, and safe to add to any time.
        const MOST: u64 = 365_000 * 86_400_000;
        let millis = number.checked_mul(factor).filter(|millis| *millis <= MOST);
        millis.map(|millis| Self(Duration::from_millis(millis))).ok_or_else(wrong)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let fits = |(_, factor): &&(&str, u64)| millis > 0 && millis.is_multiple_of(u128::from(*factor));
        match TIMES[1..].iter().find(fits) {
            Some((unit, factor)) => write!(f, "{}{unit}", millis / u128::from(*factor)),
            None => write!(f, "{millis}ms"),
        }
    }
}

fn with_unit<'t>(text: &'t str, units: &[(&str, u64)]) -> Option<(&'t str, u64)> {
    let find = |(unit, factor): &(&str, u64)| {
        let at = text.len().checked_sub(unit.len())?;
        let tail = text.get(at..)?;
        tail.eq_ignore_ascii_case(unit).then(|| (&text[..at], *factor))
    };
    units.iter().find_map(find)
}

macro_rules! text_value {
    ($type:ty, $bare:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                match Value::deserialize(deserializer)? {
                    Value::String(text) => text.parse().map_err(D::Error::custom),
                    Value::Integer(number) if $bare && number >= 0 => {
                        number.to_string().parse().map_err(D::Error::custom)
                    }
                    other => other.to_string().parse().map_err(D::Error::custom),
                }
            }
        }
    };
}

text_value!(Size, true);
text_value!(Time, false);

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// A setting: what its line in the example says, and how a variable's text becomes its value.
struct Setting {
    key: &'static str,
    kind: Kind,
    /// In lines of at most 110 characters.
    help: &'static str,
    /// Shown where there is no default.
    sample: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Text, size, time, path, address.
    Text,
    /// A number or `true` and `false`.
    Plain,
    /// Texts with commas between them.
    List,
}

const fn setting(key: &'static str, kind: Kind, help: &'static str) -> Setting {
    Setting { key, kind, help, sample: "" }
}

const fn optional(key: &'static str, kind: Kind, help: &'static str, sample: &'static str) -> Setting {
    Setting { key, kind, help, sample }
}

use Kind::{List, Plain, Text};

/// All settings but those of `[[input.folder]]`, by section. Sizes are bytes with a unit, times numbers with a unit.
const SETTINGS: &[Setting] = &[
    setting(
        "server.listen",
        Text,
        "Address and port. Port 0 takes a free one and says which.\nOutside loopback, eqlipse refuses to start without [server.tls], unless insecure is true.",
    ),
    setting(
        "server.data",
        Text,
        "The folder of all data: events, rules, alerts, users. One process at a time may use it.",
    ),
    setting("server.name", Text, "The name that clients see as node and cluster."),
    optional(
        "server.publish",
        Text,
        "Host and port that clients are told to send to when they ask for nodes (sniffing). Without it: the address\nabove; if that is every address, the one that the client reached.",
        "eqlipse.example.org:9280",
    ),
    setting(
        "server.insecure",
        Plain,
        "Serve outside loopback without TLS: passwords and events can be read on their way.",
    ),
    setting("server.connections", Plain, "Connections at a time. Those beyond it are closed at once and counted."),
    setting("server.shutdown_time", Text, "How long requests under way may take to end when the service stops."),
    optional(
        "server.tls.cert",
        Text,
        "PEM file with the certificate, followed by those that signed it. Read again on SIGHUP.",
        "/etc/eqlipse/cert.pem",
    ),
    optional("server.tls.key", Text, "PEM file with its private key, unencrypted.", "/etc/eqlipse/key.pem"),
    setting("limits.request_bytes", Text, "The longest body of a request, as it comes and unpacked. Beyond it: 413."),
    setting(
        "limits.document_bytes",
        Text,
        "The longest document. One that is longer is refused, the others of its request are not.",
    ),
    setting(
        "limits.body_memory",
        Text,
        "Memory for the bodies of all requests together and what is made of them. Beyond it: 429, and the client tries again.",
    ),
    setting(
        "limits.memory_time",
        Text,
        "How long a request with events waits where memory is short, before 429. Not all clients send again what was.",
    ),
    setting("limits.header_time", Text, "How long the head of a request may take to arrive."),
    setting(
        "limits.idle_time",
        Text,
        "How long a body may pause before the request is given up: 503. And how long\na client may not read its answer.",
    ),
    setting("limits.request_time", Text, "How long a request may take, from its head to its answer: 504."),
    setting("limits.query_time", Text, "How long a query may run."),
    setting(
        "limits.query_memory",
        Text,
        "Memory for what one query has matched; what is more goes to a temporary file.",
    ),
    setting(
        "limits.sql_memory",
        Text,
        "Memory for sorting, grouping and joining of all SQL queries together; a query that needs more fails: 429.",
    ),
    setting("limits.sql_rows", Plain, "The most rows that an SQL query may ask for."),
    setting(
        "store.memory",
        Text,
        "Memory for recent events and events under way. Beyond it: 429, and the client tries again.",
    ),
    setting("store.flush_bytes", Text, "Recent events are written to segments when they take so many bytes."),
    setting("store.flush_age", Text, "And at the latest when the oldest is so old."),
    setting("store.cache_bytes", Text, "Memory for what rules matched in segments."),
    setting(
        "store.max_data_streams",
        Plain,
        "Data streams at most; events for further ones are refused: 400, and kept as dead letters.",
    ),
    optional(
        "store.retention_age",
        Text,
        "Events that arrived longer ago are removed. Without it, they are kept.",
        "90d",
    ),
    optional(
        "store.retention_size",
        Text,
        "The oldest events are removed while all together are larger on disk. Without it, they are kept.",
        "500GiB",
    ),
    optional(
        "store.segments",
        Text,
        "Where segments are kept: a folder (a path or file:///PATH), or s3://BUCKET/PREFIX in an object store that\nspeaks S3. Without it, in the data folder. A prefix is for one service alone.",
        "s3://events/eqlipse",
    ),
    setting(
        "store.segment_cache",
        Text,
        "Disk for copies of segments that are in an object store. What is not there yet is kept beyond it.",
    ),
    optional(
        "store.s3_endpoint",
        Text,
        "Address of an object store that is not Amazon's.",
        "https://minio.example.org:9000",
    ),
    optional("store.s3_region", Text, "The region of the bucket.", "eu-central-1"),
    optional(
        "store.s3_access_key_id",
        Text,
        "The name of the access key. Without it, AWS_ACCESS_KEY_ID and the other variables that all tools for S3 share\nare heeded, or the machine's own role.",
        "AKIAEXAMPLE",
    ),
    optional(
        "store.s3_secret_access_key_file",
        Text,
        "A file with the secret access key. The variable EQLIPSE_STORE_S3_SECRET_ACCESS_KEY does it too.",
        "/etc/eqlipse/s3-key",
    ),
    setting("store.s3_allow_http", Plain, "Talk to an endpoint without TLS: events can be read on their way."),
    optional(
        "schedule.tick",
        Text,
        "Run rules so often where their own interval is longer. Without it, each runs at its interval.",
        "10s",
    ),
    setting(
        "schedule.late_bound",
        Text,
        "How late an event may come and still be seen by a rule that goes by @timestamp.\nWhat is later is counted in the rule's ledger.",
    ),
    setting(
        "schedule.rule_events",
        Plain,
        "The most events of a window that a rule's filters may let through: what is let through stands in memory.\nBeyond it the rule is not evaluated over that window, and its ledger says so; the others are.",
    ),
    setting(
        "rules.paths",
        List,
        "Files and folders of rules. They are installed and enabled at the start and on SIGHUP.",
    ),
    setting("rules.bundled", Plain, "Install and enable the rules that come with eqlipse."),
    optional(
        "retention.alerts",
        Text,
        "Alerts that are older are removed, with their building blocks. Without it, they are kept.",
        "365d",
    ),
    setting("retention.ledger", Text, "How long the ledger keeps which windows were evaluated, and how."),
    optional("retention.audit", Text, "Older entries of the audit log are removed. Without it, they are kept.", "730d"),
    setting("auth.admin", Text, "The first user, made at the first start."),
    optional(
        "auth.admin_password_file",
        Text,
        "A file with that user's password. The variable EQLIPSE_AUTH_ADMIN_PASSWORD does it too.\nWithout either, a password is made up and printed once.",
        "/etc/eqlipse/admin-password",
    ),
    setting(
        "auth.login_failures",
        Plain,
        "Wrong passwords from an address, and for a user, within login_window. Beyond it: 429, but for those whose\npassword was right in the last day. API keys are not counted.",
    ),
    setting("auth.login_window", Text, "See login_failures."),
    setting(
        "auth.cache_time",
        Text,
        "How long credentials that were right are believed without hashing the password again.",
    ),
    setting("auth.open_metrics", Plain, "Answer /metrics without credentials."),
    setting(
        "dead_letters.bytes_per_day",
        Text,
        "The most bytes of refused documents that are kept of a day, in dead-letter/ of the data folder.\nWhat is beyond it is counted only.",
    ),
    setting("dead_letters.days", Plain, "Days after which their files are removed."),
    setting("log.format", Text, "\"text\" or \"json\"."),
    setting("log.level", Text, "error, warn, info, debug, trace, or a filter such as \"info,eqlipse_store=debug\"."),
];

/// Variables that are no settings: a secret has no place in a file that others read.
const PASSWORD_VARIABLE: &str = "EQLIPSE_AUTH_ADMIN_PASSWORD";
const S3_KEY_VARIABLE: &str = "EQLIPSE_STORE_S3_SECRET_ACCESS_KEY";

impl Setting {
    fn variable(&self) -> String {
        format!("EQLIPSE_{}", self.key.replace('.', "_").to_uppercase())
    }

    fn section(&self) -> &'static str {
        self.key.rsplit_once('.').map_or("", |(section, _)| section)
    }

    fn name(&self) -> &'static str {
        self.key.rsplit_once('.').map_or(self.key, |(_, name)| name)
    }

    fn parse(&self, text: &str) -> Result<Value, String> {
        match self.kind {
            Kind::Text => Ok(Value::String(text.to_owned())),
            Kind::List => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                Ok(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
            }
            Kind::Plain => match (text.parse::<i64>(), text) {
                (Ok(number), _) => Ok(Value::Integer(number)),
                (_, "true") => Ok(Value::Boolean(true)),
                (_, "false") => Ok(Value::Boolean(false)),
                _ => Err("expected a number, true or false".to_owned()),
            },
        }
    }
}

impl Config {
    /// Reads a file, if there is one, and the variables of the environment above it.
    ///
    /// # Errors
    /// If the file cannot be read or has what is no setting, if a variable has, or if settings do not go together.
    pub fn load(
        path: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|error| ConfigError::Read { path: path.to_owned(), error })
        };
        let text = path.map(read).transpose()?.unwrap_or_default();
        Self::parse(&text, path.unwrap_or(Path::new("eqlipse.toml")), variables)
    }

    /// As [`Self::load`], of a text; `path` is what errors name.
    ///
    /// # Errors
    /// See there.
    pub fn parse(
        text: &str,
        path: &Path,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let in_file = |error: toml::de::Error| {
            let (line, column) = place(text, error.span().map_or(0, |span| span.start));
            ConfigError::File { path: path.to_owned(), line, column, reason: error.message().to_owned() }
        };
        let mut config: Self = toml::from_str(text).map_err(in_file)?;
        let mut table: Table = toml::from_str(text).map_err(in_file)?;
        let (mut password, mut s3_key) = (None, None);
        let variables: BTreeMap<String, String> = variables.into_iter().collect();
        // Certificate and key are of use together only, so all variables are set before any is judged.
        let mut set = Vec::new();
        for (name, text) in variables {
            if name == PASSWORD_VARIABLE {
                password = Some(Secret(text));
            } else if name == S3_KEY_VARIABLE {
                s3_key = Some(Secret(text));
            } else if let Some(setting) = find_variable(&name)? {
                let wrong = |reason| ConfigError::Variable { name: name.clone(), reason };
                let value = setting.parse(&text).map_err(wrong)?;
                check_alone(setting, &value).map_err(|reason| ConfigError::Variable { name: name.clone(), reason })?;
                insert(&mut table, setting.key, value);
                set.push(name);
            }
        }
        if !set.is_empty() {
            let wrong = |error: toml::de::Error| ConfigError::Variable {
                name: set.join(", "),
                reason: error.message().to_owned(),
            };
            config = Self::deserialize(table).map_err(wrong)?;
        }
        config.auth.admin_password = password;
        config.store.s3_secret_access_key = s3_key;
        config.check()?;
        Ok(config)
    }

    /// What no single setting can say.
    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |message: &str| Err(ConfigError::Value(message.to_owned()));
        if self.limits.document_bytes > self.limits.request_bytes {
            return wrong("limits.document_bytes is more than limits.request_bytes: no such document could arrive");
        }
        if self.store.flush_bytes >= self.store.memory {
            return wrong(
                "store.flush_bytes must be less than store.memory, or no event could be taken while segments are written",
            );
        }
        if self.limits.request_bytes > MAX_REQUEST_BYTES {
            return wrong("limits.request_bytes is more than 256MiB: a log's entry has no room for such a request");
        }
        self.store.check_place()?;
        let positive = [
            ("limits.request_bytes", self.limits.request_bytes.0),
            ("limits.document_bytes", self.limits.document_bytes.0),
            ("limits.sql_memory", self.limits.sql_memory.0),
            ("limits.sql_rows", self.limits.sql_rows as u64),
            ("store.flush_bytes", self.store.flush_bytes.0),
            ("server.connections", self.server.connections as u64),
            ("auth.login_failures", u64::from(self.auth.login_failures)),
            ("schedule.rule_events", self.schedule.rule_events as u64),
        ];
        let times = [
            ("limits.header_time", self.limits.header_time),
            ("limits.idle_time", self.limits.idle_time),
            ("limits.request_time", self.limits.request_time),
            ("limits.query_time", self.limits.query_time),
            ("store.flush_age", self.store.flush_age),
            ("auth.login_window", self.auth.login_window),
            ("retention.ledger", self.retention.ledger),
        ];
        let times = times.map(|(name, time)| (name, time.0.as_millis() as u64));
        let folders = self.input.folder.iter().map(|folder| ("input.folder.poll", folder.poll.0.as_millis() as u64));
        let tick = self.schedule.tick.map(|tick| ("schedule.tick", tick.0.as_millis() as u64));
        match positive.into_iter().chain(times).chain(folders).chain(tick).find(|(_, value)| *value == 0) {
            Some((name, _)) => wrong(&format!("{name} must be more than 0")),
            None => Ok(()),
        }
    }

    /// Whether the service may be reached from other machines.
    pub fn is_exposed(&self) -> bool {
        !self.server.listen.ip().is_loopback()
    }

    /// A commented file with every setting at its default, for `eqlipse config init`.
    pub fn example() -> String {
        let defaults = Table::try_from(Self::default()).unwrap_or_default();
        let mut text = String::from(
            "# Settings of `eqlipse serve`. Every setting stands here with its default.\n\
             # A variable EQLIPSE_SECTION_SETTING overrides it: EQLIPSE_SERVER_LISTEN, EQLIPSE_SERVER_TLS_CERT.\n\
             # Sizes: 64MiB, 1GB. Times: 500ms, 30s, 5m, 1h, 7d.\n",
        );
        let mut section = "";
        for setting in SETTINGS {
            if setting.section() != section {
                section = setting.section();
                // A section of which nothing has a default would be incomplete without its comments.
                let mark = if lookup(&defaults, section).is_none() { "# " } else { "" };
                text.push_str(&format!("\n{mark}[{section}]\n"));
            } else {
                text.push('\n');
            }
            setting.help.lines().for_each(|line| text.push_str(&format!("# {line}\n")));
            match lookup(&defaults, setting.key) {
                Some(value) => text.push_str(&format!("{} = {value}\n", setting.name())),
                None => text.push_str(&format!("# {} = \"{}\"\n", setting.name(), setting.sample)),
            }
        }
        text.push_str(FOLDER_EXAMPLE);
        text
    }
}

const FOLDER_EXAMPLE: &str = r#"
# Folders whose files are read as they come and grow: EVTX, NDJSON, JSON, packed or not. One section for each.
# [[input.folder]]
# The folder, with everything below it.
# path = "/var/log/events"
# The data stream that its events go to.
# index = "logs-files-default"
# Names of files to read; all if there are none.
# include = ["*.ndjson", "*.evtx"]
# How often to look for what is new.
# poll = "1s"
"#;

/// The setting of a variable. Variables of other parts of eqlipse are none of the service's.
fn find_variable(name: &str) -> Result<Option<&'static Setting>, ConfigError> {
    let Some(rest) = name.strip_prefix("EQLIPSE_") else { return Ok(None) };
    if let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == name) {
        return Ok(Some(setting));
    }
    let section = |setting: &Setting| setting.key.split('.').next().unwrap_or_default().to_uppercase();
    let is_section =
        |setting: &&Setting| rest.strip_prefix(&*section(setting)).is_some_and(|rest| rest.starts_with('_'));
    match SETTINGS.iter().find(is_section) {
        Some(near) => {
            let prefix = format!("EQLIPSE_{}_", section(near));
            let known = SETTINGS.iter().map(Setting::variable).filter(|known| known.starts_with(&prefix));
            let known: Vec<String> = known.collect();
            let reason = format!("there is no such setting; there are {}", known.join(", "));
            Err(ConfigError::Variable { name: name.to_owned(), reason })
        }
        None => Ok(None),
    }
}

/// Tries one value on otherwise default settings, so that an error names its variable.
fn check_alone(setting: &Setting, value: &Value) -> Result<(), String> {
    let mut table = Table::new();
    for other in SETTINGS.iter().filter(|other| other.section() == setting.section() && !other.sample.is_empty()) {
        insert(&mut table, other.key, Value::String(other.sample.to_owned()));
    }
    insert(&mut table, setting.key, value.clone());
    Config::deserialize(table).map(drop).map_err(|error| error.message().to_owned())
}

fn insert(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => _ = table.insert(key.to_owned(), value),
        Some((section, rest)) => {
            let inner = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

fn lookup<'t>(table: &'t Table, key: &str) -> Option<&'t Value> {
    let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    let value = table.get(first)?;
    match rest {
        Some(rest) => lookup(value.as_table()?, rest),
        None => Some(value),
    }
}

/// Line and column of a byte, from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("eqlipse.toml"), [])
    }

    fn with_variables(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::parse(text, Path::new("eqlipse.toml"), variables)
    }

    #[test]
    fn the_example_is_the_default_and_names_every_setting() {
        let example = Config::example();
        assert_eq!(parse(&example).unwrap(), Config::default());
        fn keys(prefix: &str, table: &Table, out: &mut Vec<String>) {
            for (key, value) in table {
                match value {
                    Value::Table(inner) => keys(&format!("{prefix}{key}."), inner, out),
                    _ => out.push(format!("{prefix}{key}")),
                }
            }
        }
        let mut all = Vec::new();
        let mut full = Config::default();
        full.server.tls = Some(TlsConfig { cert: "a".into(), key: "b".into() });
        full.server.publish = Some("i:1".to_owned());
        full.store.retention_age = Some(Time::seconds(1));
        full.store.retention_size = Some(Size(1));
        full.store.segments = Some("d".to_owned());
        full.store.s3_endpoint = Some("e".to_owned());
        full.store.s3_region = Some("f".to_owned());
        full.store.s3_access_key_id = Some("g".to_owned());
        full.store.s3_secret_access_key_file = Some("h".into());
        full.schedule.tick = Some(Time::seconds(1));
        full.auth.admin_password_file = Some("c".into());
        full.retention.alerts = Some(Time::seconds(1));
        full.retention.audit = Some(Time::seconds(1));
        keys("", &Table::try_from(full).unwrap(), &mut all);
        for key in all.iter().filter(|key| !key.starts_with("input.")) {
            assert!(SETTINGS.iter().any(|setting| setting.key == key), "{key}");
        }
        assert_eq!(all.len() - 1, SETTINGS.len());
        assert!(example.lines().all(|line| line.len() <= 120));
        // With the comments taken away, every setting parses too.
        let is_setting = |line: &&str| line.starts_with("# ") && (line.contains(" = ") || line.contains('['));
        let bare: Vec<&str> = example.lines().map(|line| if is_setting(&line) { &line[2..] } else { line }).collect();
        let bare = bare.join("\n").replace("Outside loopback", "# Outside loopback");
        parse(&bare).unwrap_or_else(|error| panic!("{error}\n{bare}"));
    }

    #[test]
    fn errors_name_the_line() {
        let text = "[server]\nlisten = \"127.0.0.1:1\"\nlisen = \"x\"\n";
        let error = parse(text).unwrap_err().to_string();
        assert!(error.starts_with("eqlipse.toml, line 3, column 1: unknown field `lisen`"), "{error}");
        let error = parse("[limits]\n\nrequest_bytes = \"many\"").unwrap_err().to_string();
        assert!(error.contains("line 3, column 17: \"many\" is no size"), "{error}");
        let error = parse("[server").unwrap_err().to_string();
        assert!(error.contains("line 1"), "{error}");
    }

    #[test]
    fn variables_override_the_file() {
        let variables = [
            ("EQLIPSE_SERVER_LISTEN", "0.0.0.0:80"),
            ("EQLIPSE_SERVER_TLS_CERT", "/c"),
            ("EQLIPSE_SERVER_TLS_KEY", "/k"),
            ("EQLIPSE_RULES_PATHS", "/a, /b"),
            ("EQLIPSE_RULES_BUNDLED", "false"),
            ("EQLIPSE_LIMITS_REQUEST_BYTES", "1048576"),
            ("EQLIPSE_LIMITS_DOCUMENT_BYTES", "1KiB"),
            ("EQLIPSE_AUTH_ADMIN_PASSWORD", "hush"),
            ("EQLIPSE_STORE_S3_SECRET_ACCESS_KEY", "hush"),
            ("EQLIPSE_STORE_S3_ALLOW_HTTP", "true"),
            ("EQLIPSE_CACHE", "of another command"),
        ];
        let config = with_variables("[server]\nlisten = \"127.0.0.1:1\"\nname = \"x\"", &variables).unwrap();
        assert_eq!(config.server.listen, "0.0.0.0:80".parse().unwrap());
        assert_eq!((&*config.server.name, config.is_exposed()), ("x", true));
        assert_eq!(config.server.tls, Some(TlsConfig { cert: "/c".into(), key: "/k".into() }));
        assert_eq!(config.rules, RulesConfig { paths: vec!["/a".into(), "/b".into()], bundled: false });
        assert_eq!(config.limits.request_bytes, Size(1 << 20));
        assert!(config.store.s3_allow_http && config.store.s3_secret_access_key == Some(Secret("hush".to_owned())));
        assert!(!format!("{config:?}").contains("hush"));
        assert!(!toml::to_string(&config).unwrap().contains("hush"));
    }

    #[test]
    fn errors_name_the_variable() {
        let error = with_variables("", &[("EQLIPSE_SERVER_LISEN", "x")]).unwrap_err().to_string();
        assert!(error.contains("EQLIPSE_SERVER_LISEN") && error.contains("EQLIPSE_SERVER_LISTEN"), "{error}");
        let error = with_variables("", &[("EQLIPSE_STORE_FLUSH_AGE", "5")]).unwrap_err().to_string();
        assert!(error.contains("EQLIPSE_STORE_FLUSH_AGE: \"5\" is no length of time"), "{error}");
        let error = with_variables("", &[("EQLIPSE_SERVER_TLS_CERT", "x")]).unwrap_err().to_string();
        assert!(error.contains("EQLIPSE_SERVER_TLS_CERT: missing field `key`"), "{error}");
    }

    #[test]
    fn settings_must_go_together() {
        for (text, part) in [
            ("[limits]\ndocument_bytes = \"200MiB\"", "limits.document_bytes"),
            ("[limits]\nrequest_bytes = \"257MiB\"", "limits.request_bytes"),
            ("[store]\nflush_bytes = \"1GiB\"", "store.flush_bytes"),
            ("[schedule]\ntick = \"0s\"", "schedule.tick must be more than 0"),
            ("[auth]\nadmin_password = \"x\"", "unknown field"),
            ("[store]\ns3_secret_access_key = \"x\"", "unknown field"),
            ("[store]\nsegments = \"s3:///x\"", "store.segments names no bucket"),
            ("[store]\nsegments = \"gs://x\"", "store.segments"),
            ("[store]\nsegments = \"file://host/x\"", "store.segments"),
            ("[store]\nsegments = \"s3://x\"\ns3_endpoint = \"http://h\"", "store.s3_allow_http"),
            ("[store]\ns3_region = \"x\"", "store.segments is not in an object store"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn sizes_and_times_read_what_they_write() {
        for text in ["64MiB", "1000B", "3GiB", "0B"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        assert_eq!("2kb".parse::<Size>(), Ok(Size(2000)));
        for text in ["5m", "500ms", "90s", "7d", "36h", "0ms"] {
            assert_eq!(text.parse::<Time>().unwrap().to_string(), text);
        }
        for wrong in ["", "5", "m", "-1s", "1.5h", "99999999999999999999d", "9999999999999d", "ä"] {
            assert!(wrong.parse::<Time>().is_err(), "{wrong}");
        }
        assert!("99999999999TiB".parse::<Size>().is_err());
    }
}
