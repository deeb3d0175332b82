//! Which data a request asks for: index patterns against the data streams that there are, indices and aliases that were
//! made, and the alerts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::http::StatusCode;
use eqlipse_store::{Snapshot, StreamSize};
use serde_json::{Value, json};

use super::params::Params;
use crate::dsl::Pattern;
use crate::http::{ElasticFailure, Failure, is_match};
use crate::state::App;

/// The index that alerts are in.
pub const ALERTS_INDEX: &str = ".internal.alerts-security.alerts-default-000001";
/// Other names for it.
pub const ALERTS_ALIASES: [&str; 2] = [".alerts-security.alerts-default", ".siem-signals-default"];

/// How many names and patterns a request may have.
const MAX_PATTERNS: usize = 1_024;
/// How often names may be held against patterns for a request, those behind aliases included.
const MAX_MATCHES: usize = 8 << 20;
/// The longest pattern, in bytes. No name is longer.
const MAX_PATTERN_BYTES: usize = 512;

/// What there is to be asked for, besides the alerts.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Data streams and indices that have events or were made, by name.
    pub streams: BTreeMap<String, StreamSize>,
    /// By alias, the names and patterns that it stands for.
    pub aliases: Arc<BTreeMap<String, Vec<String>>>,
}

impl Known {
    /// What there is at a moment.
    pub fn of(app: &App, snapshot: &Snapshot) -> Self {
        let mut streams = snapshot.data_streams();
        for name in app.stash.indices() {
            streams.entry(name).or_default();
        }
        Self { streams, aliases: app.stash.aliases() }
    }
}

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Data streams and indices, by name.
    pub streams: Vec<String>,
    /// Whether these are all that there are.
    pub all_streams: bool,
    /// The alerts too.
    pub alerts: bool,
}

/// What becomes of names that are not there, and which names wildcards stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// A name without an index is passed over.
    pub ignore_unavailable: bool,
    /// Patterns that find nothing are in order.
    pub allow_no_indices: bool,
    /// `*` stands for hidden indices too.
    pub hidden: bool,
    /// Wildcards stand for open indices at all.
    pub open: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { ignore_unavailable: false, allow_no_indices: true, hidden: false, open: true }
    }
}

impl Options {
    /// Reads `ignore_unavailable`, `allow_no_indices` and `expand_wildcards`.
    ///
    /// # Errors
    /// If a value is none of theirs.
    pub fn of(params: &Params) -> Result<Self, Failure> {
        Self::over(Self::default(), params)
    }

    /// The same where other things hold if nothing is said.
    ///
    /// # Errors
    /// If a value is none of theirs.
    pub fn over(default: Self, params: &Params) -> Result<Self, Failure> {
        let mut options = Self {
            ignore_unavailable: params.flag("ignore_unavailable")?.unwrap_or(default.ignore_unavailable),
            allow_no_indices: params.flag("allow_no_indices")?.unwrap_or(default.allow_no_indices),
            ..default
        };
        if let Some(kinds) = params.get("expand_wildcards") {
            options.expand(kinds)?;
        }
        Ok(options)
    }

    /// Takes `expand_wildcards`: kinds of indices with commas between them.
    ///
    /// # Errors
    /// If one is none.
    pub fn expand(&mut self, kinds: &str) -> Result<(), Failure> {
        (self.open, self.hidden) = (false, false);
        for kind in kinds.split(',') {
            match kind {
                "open" => self.open = true,
                "all" => (self.open, self.hidden) = (true, true),
                "hidden" => self.hidden = true,
                "closed" | "none" => {}
                other => return Err(Failure::IllegalArgument(format!("No valid expand wildcard value [{other}]"))),
            }
        }
        Ok(())
    }
}

/// Says that an index is not there.
pub(super) fn not_found(name: &str) -> Failure {
    let fields = json!({ "resource.type": "index_or_alias", "resource.id": name, "index_uuid": "_na_", "index": name });
    let Value::Object(fields) = fields else { return Failure::NotFound(name.to_owned()) };
    Failure::Elastic(Box::new(ElasticFailure {
        status: StatusCode::NOT_FOUND,
        kind: "index_not_found_exception".into(),
        reason: format!("no such index [{name}]"),
        fields,
    }))
}

/// A target in the making.
struct Search<'a> {
    known: &'a Known,
    options: Options,
    streams: BTreeSet<&'a str>,
    alerts: bool,
    /// What was added of that behind aliases since anything was taken away, and whether it stands for anything.
    behind: BTreeMap<&'a str, bool>,
    /// How often names were held against patterns.
    matches: usize,
}

impl Target {
    /// Takes names and patterns apart, with commas between them; those with `-` before them take away again.
    ///
    /// # Errors
    /// If a name is not there, a pattern cannot be one, or there are too many.
    pub fn resolve(text: &str, known: &Known, options: Options) -> Result<Self, Failure> {
        let (streams, behind) = (BTreeSet::new(), BTreeMap::new());
        let mut search = Search { known, options, streams, alerts: false, behind, matches: 0 };
        let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        if parts.len() > MAX_PATTERNS {
            return Err(Failure::IllegalArgument(format!("more than {MAX_PATTERNS} index names and patterns")));
        }
        let parts = if parts.is_empty() { vec!["*"] } else { parts };
        let mut had_wildcard = false;
        for part in parts {
            if let Some(pattern) = part.strip_prefix('-').filter(|_| had_wildcard) {
                search.remove(pattern)?;
                continue;
            }
            let part = if part == "_all" { "*" } else { part };
            if let Some((cluster, _)) = part.split_once(':') {
                // There are no other clusters: their patterns find nothing, their names are not there.
                if cluster.contains('*') || options.ignore_unavailable {
                    continue;
                }
                let reason = format!("no such remote cluster: [{cluster}]");
                return Err(Failure::elastic(StatusCode::NOT_FOUND, "no_such_remote_cluster_exception", reason));
            }
            had_wildcard |= part.contains('*');
            let found = search.add(part)?;
            let is_fine = if part.contains('*') { options.allow_no_indices } else { options.ignore_unavailable };
            if !found && !is_fine {
                return Err(not_found(part));
            }
        }
        let all_streams = search.streams.len() == known.streams.len();
        Ok(Self {
            streams: search.streams.into_iter().map(str::to_owned).collect(),
            all_streams,
            alerts: search.alerts,
        })
    }

    /// Whether events of a data stream are asked for.
    pub fn has(&self, stream: &str) -> bool {
        self.streams.binary_search_by(|name| name.as_str().cmp(stream)).is_ok()
    }

    /// How many indices it is.
    pub fn len(&self) -> usize {
        self.streams.len() + usize::from(self.alerts)
    }

    /// Whether it is none at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a> Search<'a> {
    /// Counts what is held against a pattern.
    fn count(&mut self, pattern: &str, names: usize) -> Result<(), Failure> {
        self.matches += names;
        if self.matches > MAX_MATCHES || pattern.len() > MAX_PATTERN_BYTES {
            return Err(Failure::IllegalArgument("too many or too long index patterns and aliases".to_owned()));
        }
        Ok(())
    }

    fn add(&mut self, part: &str) -> Result<bool, Failure> {
        let (known, options) = (self.known, self.options);
        if !part.contains('*') {
            let is_alerts = part == ALERTS_INDEX || ALERTS_ALIASES.contains(&part);
            self.alerts |= is_alerts;
            let alias = known.aliases.get(part);
            let stream = known.streams.get_key_value(part);
            self.streams.extend(stream.map(|(name, _)| name.as_str()));
            self.add_behind(alias.into_iter().flatten())?;
            return Ok(is_alerts || stream.is_some() || alias.is_some());
        }
        self.count(part, known.streams.len() + known.aliases.len())?;
        let pattern = Pattern::wildcard(part, false);
        // What is hidden is meant only where the pattern says so by its own dot.
        let stands_for = |name: &str| {
            let is_visible = !name.starts_with('.') || options.hidden || part.starts_with('.');
            options.open && is_visible && pattern.matches(name)
        };
        let mut streams = known.streams.keys().map(String::as_str).filter(|name| stands_for(name)).peekable();
        let mut found = streams.peek().is_some();
        self.streams.extend(streams);
        for (_, indices) in known.aliases.iter().filter(|(name, _)| stands_for(name)) {
            found |= self.add_behind(indices.iter())?;
        }
        let alerts = [ALERTS_INDEX].iter().chain(&ALERTS_ALIASES).any(|name| stands_for(name));
        self.alerts |= alerts;
        Ok(found || alerts)
    }

    /// Adds what an alias stands for; says whether anything is behind it.
    fn add_behind(&mut self, indices: impl Iterator<Item = &'a String>) -> Result<bool, Failure> {
        let known = self.known;
        let mut found = false;
        for index in indices {
            if let Some(is_there) = self.behind.get(index.as_str()) {
                found |= is_there;
                continue;
            }
            let mut is_there = is_match(index, ALERTS_INDEX);
            self.alerts |= is_there;
            if index.contains('*') {
                self.count(index, known.streams.len())?;
                let mut streams = known.streams.keys().filter(|name| is_match(index, name)).peekable();
                is_there |= streams.peek().is_some();
                self.streams.extend(streams.map(String::as_str));
            } else if let Some((name, _)) = known.streams.get_key_value(index) {
                is_there = true;
                self.streams.insert(name);
            }
            self.behind.insert(index, is_there);
            found |= is_there;
        }
        Ok(found)
    }

    fn remove(&mut self, part: &str) -> Result<(), Failure> {
        self.count(part, self.streams.len())?;
        let pattern = Pattern::wildcard(part, false);
        self.streams.retain(|name| !pattern.matches(name));
        self.behind.clear();
        if [ALERTS_INDEX].iter().chain(&ALERTS_ALIASES).any(|name| pattern.matches(name)) {
            self.alerts = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str, options: Options) -> Result<(Vec<String>, bool), String> {
        let known = ["logs-a-default", "logs-b-default", "winlogbeat-1", ".hidden"];
        let streams = known.into_iter().map(|name| (name.to_owned(), StreamSize::default())).collect();
        let aliases = BTreeMap::from([("every-log".to_owned(), vec!["logs-*".to_owned()])]);
        let known = Known { streams, aliases: Arc::new(aliases) };
        Target::resolve(text, &known, options)
            .map(|target| (target.streams, target.alerts))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn patterns_stand_for_what_is_there() {
        let plain = |text| resolve(text, Options::default());
        let streams = |names: &[&str], alerts| Ok((names.iter().map(ToString::to_string).collect(), alerts));
        assert_eq!(plain(""), streams(&["logs-a-default", "logs-b-default", "winlogbeat-1"], false));
        assert_eq!(plain("_all,-logs-*"), streams(&["winlogbeat-1"], false));
        assert_eq!(plain("logs-*,-logs-b*,winlogbeat-1"), streams(&["logs-a-default", "winlogbeat-1"], false));
        assert_eq!(plain(".alerts-security.alerts-*"), streams(&[], true));
        assert_eq!(plain(".siem-signals-default,logs-a-default"), streams(&["logs-a-default"], true));
        assert_eq!(plain(".internal.alerts-*"), streams(&[], true));
        assert_eq!(plain("every-log"), streams(&["logs-a-default", "logs-b-default"], false));
        assert_eq!(plain("every-*,-logs-a*"), streams(&["logs-b-default"], false));
        assert_eq!(plain("nothing-*"), streams(&[], false));
        assert_eq!(plain("*:logs-*"), streams(&[], false));
        assert_eq!(plain("nothing"), Err("no such index [nothing]".to_owned()));
        assert_eq!(plain("-logs-a-default"), Err("no such index [-logs-a-default]".to_owned()));
        assert_eq!(plain("other:logs"), Err("no such remote cluster: [other]".to_owned()));
        let hidden = Options { hidden: true, ..Options::default() };
        assert_eq!(resolve("*", hidden).map(|(streams, alerts)| (streams.len(), alerts)), Ok((4, true)));
        let lenient = Options { ignore_unavailable: true, ..Options::default() };
        assert_eq!(resolve("nothing,winlogbeat-1", lenient), streams(&["winlogbeat-1"], false));
        let strict = Options { allow_no_indices: false, ..Options::default() };
        assert_eq!(resolve("nothing-*", strict), Err("no such index [nothing-*]".to_owned()));
    }

    #[test]
    fn what_is_held_against_patterns_is_bounded() {
        let streams = (0..20_000).map(|number| (format!("logs-{number}"), StreamSize::default())).collect();
        let behind: Vec<String> = (0..200).map(|number| format!("logs-{number}*")).collect();
        let aliases = (0..5_000).map(|number| (format!("alias-{number}"), behind.clone())).collect();
        let known = Known { streams, aliases: Arc::new(aliases) };
        let resolve = |text: &str| Target::resolve(text, &known, Options::default());
        // The same behind thousands of aliases is looked at once.
        assert!(resolve("alias-*").is_ok_and(|target| !target.streams.is_empty()));
        assert!(resolve("*,alias-*").is_ok_and(|target| target.all_streams));
        assert_eq!(resolve("*,-logs-1,alias-1").unwrap().streams.len(), 20_000);
        assert!(resolve(&vec!["a*b"; 1_000].join(",")).is_err());
        assert!(resolve("*,-nothing,".repeat(100).as_str()).is_err());
        assert!(resolve(&format!("{}*", "x".repeat(MAX_PATTERN_BYTES))).is_err());
    }
}
