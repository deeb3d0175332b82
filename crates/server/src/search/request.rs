//! A search, read from body and URL.

use std::time::Duration;

use serde_json::{Map, Value};

use super::params::Params;
use crate::dsl::{
    Aggregations, DslError, DslErrorKind, FieldsToShow, Key, Query, Sort, SourceFilter, count, did_you_mean, flag,
};
use crate::http::Failure;

/// How far `from` and `size` may reach (`index.max_result_window`).
pub const MAX_RESULT_WINDOW: usize = 10_000;

/// How many hits are counted exactly where nothing is said.
const TRACKED: u64 = 10_000;

/// What a search asks for.
#[derive(Debug)]
pub struct SearchRequest {
    /// Which documents.
    pub query: Query,
    /// Which of these are hits; aggregations take all.
    pub post_filter: Option<Query>,
    /// What is counted.
    pub aggregations: Aggregations,
    /// The order of hits.
    pub sort: Sort,
    /// The hits begin behind it.
    pub after: Option<Key>,
    /// How many hits are left out.
    pub from: usize,
    /// How many hits there are at most.
    pub size: usize,
    /// How many hits are counted exactly.
    pub track: Track,
    /// What of a document is shown.
    pub source: SourceFilter,
    /// Values that are shown beside it.
    pub fields: FieldsToShow,
    /// Hits have their version.
    pub version: bool,
    /// Hits have their score also where they are sorted by something else.
    pub track_scores: bool,
    /// The search ends after so long with what it has.
    pub timeout: Option<Duration>,
    /// The search ends after so many documents.
    pub terminate_after: Option<u64>,
    /// The total is a plain number.
    pub total_as_int: bool,
    /// Names of aggregations have their types before them: `sterms#hosts`.
    pub typed_keys: bool,
    /// What was found is the answer also where the time was over before all was asked, or a part cannot be read.
    pub allows_partial: bool,
}

/// How many hits are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Track {
    /// None.
    Nothing,
    /// Up to so many.
    Up(u64),
    /// All.
    All,
}

/// Parts of a body that change nothing here: scores, and hints of how to search.
const WITHOUT_EFFECT: [&str; 4] = ["stats", "ext", "indices_boost", "stored_fields"];

/// Parts that ask for more in the answer, which it never has here.
const NOT_SHOWN: [&str; 3] = ["explain", "profile", "seq_no_primary_term"];

/// Parts that Elasticsearch has and that are refused, since an answer without them would be another.
const UNSUPPORTED: [&str; 11] = [
    "collapse",
    "highlight",
    "knn",
    "min_score",
    "pit",
    "rank",
    "rescore",
    "retriever",
    "runtime_mappings",
    "script_fields",
    "suggest",
];

/// The parameters of `_search` that may stand in the URL.
pub const URL_PARAMETERS: [&str; 31] = [
    "allow_no_indices",
    "allow_partial_search_results",
    "analyze_wildcard",
    "batched_reduce_size",
    "ccs_minimize_roundtrips",
    "expand_wildcards",
    "explain",
    "from",
    "ignore_throttled",
    "ignore_unavailable",
    "lenient",
    "max_concurrent_shard_requests",
    "pre_filter_shard_size",
    "preference",
    "request_cache",
    "rest_total_hits_as_int",
    "routing",
    "search_type",
    "seq_no_primary_term",
    "size",
    "sort",
    "_source",
    "_source_excludes",
    "_source_includes",
    "stored_fields",
    "terminate_after",
    "timeout",
    "track_scores",
    "track_total_hits",
    "typed_keys",
    "version",
];

impl Default for SearchRequest {
    fn default() -> Self {
        Self {
            query: Query::All,
            post_filter: None,
            aggregations: Aggregations::default(),
            sort: Sort::default(),
            after: None,
            from: 0,
            size: 10,
            track: Track::Up(TRACKED),
            source: SourceFilter::default(),
            fields: FieldsToShow::default(),
            version: false,
            track_scores: false,
            timeout: None,
            terminate_after: None,
            total_as_int: false,
            typed_keys: false,
            allows_partial: true,
        }
    }
}

impl SearchRequest {
    /// Reads a body, and takes what the URL says over it. `now` is in nanoseconds since the Unix epoch.
    ///
    /// # Errors
    /// What is not known or does not fit, in Elasticsearch's words.
    pub fn parse(body: Option<&Map<String, Value>>, params: &Params, now: i64) -> Result<Self, Failure> {
        let empty = Map::new();
        let body = body.unwrap_or(&empty);
        let (mut request, track) = Self::of_body(body, now)?;
        let track = request.take_params(params)?.or(track);
        request.track = tracked(track, request.total_as_int)?;
        // The values are those of the sort, and that may stand in the URL.
        if let Some(after) = body.get("search_after").filter(|after| !after.is_null()) {
            request.after = Some(request.sort.after(after)?);
        }
        request.check()?;
        Ok(request)
    }

    /// What a body says, and how many hits are to be counted if it says so.
    fn of_body(body: &Map<String, Value>, now: i64) -> Result<(Self, Option<Track>), DslError> {
        let millis = now.div_euclid(1_000_000);
        let (mut request, mut track) = (Self::default(), None);
        let (mut fields, mut doc_values) = (Vec::new(), Vec::new());
        for (key, value) in body {
            match key.as_str() {
                "query" => request.query = Query::parse(value, millis)?,
                "post_filter" => request.post_filter = Some(Query::parse(value, millis)?),
                "aggs" | "aggregations" => request.aggregations = Aggregations::parse(value, millis)?,
                "sort" => request.sort = Sort::parse(value)?,
                "from" => request.from = count(value, "from")?,
                "size" => request.size = count(value, "size")?,
                "track_total_hits" => track = Some(Track::parse(value)?),
                "_source" => request.source = SourceFilter::parse(value)?,
                "fields" => fields = list(value),
                "docvalue_fields" => doc_values = list(value),
                "version" => request.version = flag(value, "version")?,
                "timeout" => request.timeout = Some(duration(value, "timeout")?),
                "terminate_after" => {
                    request.terminate_after = Some(count(value, "terminate_after")? as u64).filter(|count| *count > 0)
                }
                "track_scores" => request.track_scores = flag(value, key)?,
                "search_after" => {}
                name if NOT_SHOWN.contains(&name) => refuse_true(name, flag(value, name)?)?,
                name if WITHOUT_EFFECT.contains(&name) => {}
                name if UNSUPPORTED.contains(&name) => {
                    let is_empty = value.as_object().is_some_and(Map::is_empty) || value.is_null();
                    if !is_empty {
                        return Err(DslError::argument(format!("[{name}] is not supported")));
                    }
                }
                name => {
                    let known = [
                        "query",
                        "aggs",
                        "aggregations",
                        "sort",
                        "from",
                        "size",
                        "_source",
                        "fields",
                        "timeout",
                        "search_after",
                        "track_total_hits",
                    ];
                    return Err(DslError::parsing(format!(
                        "unknown key [{name}] in the search request{}",
                        did_you_mean(name, &known)
                    )));
                }
            }
        }
        // What both ask for has the form of `fields`.
        doc_values.extend(fields);
        request.fields = FieldsToShow::parse(&Value::Array(doc_values))?;
        Ok((request, track))
    }

    /// Takes what the URL says over what the body said; gives how many hits it wants counted.
    fn take_params(&mut self, params: &Params) -> Result<Option<Track>, Failure> {
        if params.get("q").is_some() {
            return Err(DslError::argument("[q] is not supported: send a query in the body").into());
        }
        self.size = params.count("size")?.unwrap_or(self.size);
        self.from = params.count("from")?.unwrap_or(self.from);
        if let Some(sort) = params.get("sort") {
            self.sort = Sort::parse(&Value::Array(sort.split(',').map(Value::from).collect()))?;
        }
        if let Some(timeout) = params.get("timeout") {
            self.timeout = Some(duration(&timeout.into(), "timeout")?);
        }
        self.terminate_after = params
            .count("terminate_after")?
            .map(|count| count as u64)
            .filter(|count| *count > 0)
            .or(self.terminate_after);
        self.version = params.flag("version")?.unwrap_or(self.version);
        self.track_scores = params.flag("track_scores")?.unwrap_or(self.track_scores);
        for name in NOT_SHOWN {
            refuse_true(name, params.flag(name)?.unwrap_or(false))?;
        }
        self.total_as_int = params.flag("rest_total_hits_as_int")?.unwrap_or(false);
        self.typed_keys = params.flag("typed_keys")?.unwrap_or(false);
        self.allows_partial = params.flag("allow_partial_search_results")?.unwrap_or(true);
        let (includes, excludes) = (params.get("_source_includes"), params.get("_source_excludes"));
        match params.get("_source") {
            Some(source @ ("true" | "false")) => self.source = SourceFilter::parse(&source.into())?,
            Some(names) => self.source = SourceFilter::of_lists(Some(names), excludes)?,
            None if includes.is_some() || excludes.is_some() => {
                self.source = SourceFilter::of_lists(includes, excludes)?
            }
            None => {}
        }
        Ok(params.get("track_total_hits").map(|track| Track::parse(&track.into())).transpose()?)
    }

    fn check(&self) -> Result<(), DslError> {
        if self.after.is_some() && self.from > 0 {
            return Err(DslError::argument("`from` parameter must be set to 0 when `search_after` is used"));
        }
        let reach = self.from.saturating_add(self.size);
        if reach > MAX_RESULT_WINDOW {
            let reason = format!(
                "Result window is too large, from + size must be less than or equal to: [{MAX_RESULT_WINDOW}] but was [{reach}]. \
                 See search_after for a more efficient way to request large data sets. This limit can be set by changing the \
                 [index.max_result_window] index level setting."
            );
            return Err(DslError { kind: DslErrorKind::ResultWindow, reason });
        }
        Ok(())
    }
}

fn refuse_true(name: &str, is_asked: bool) -> Result<(), DslError> {
    if is_asked { Err(DslError::argument(format!("[{name}] is not supported"))) } else { Ok(()) }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_else(|| vec![value.clone()])
}

/// How many hits are counted. A total that is a plain number cannot say that there are more, so it has to be exact.
fn tracked(said: Option<Track>, total_as_int: bool) -> Result<Track, DslError> {
    match said {
        Some(Track::Up(count)) if total_as_int => Err(DslError::argument(format!(
            "[rest_total_hits_as_int] cannot be used if the tracking of total hits is not accurate, got {count}"
        ))),
        None if total_as_int => Ok(Track::All),
        said => Ok(said.unwrap_or(Track::Up(TRACKED))),
    }
}

impl Track {
    fn parse(value: &Value) -> Result<Self, DslError> {
        match value {
            Value::Number(number) if number.as_i64() == Some(-1) => Ok(Self::All),
            Value::Number(_) => Ok(Self::Up(count(value, "track_total_hits")? as u64)),
            Value::String(text) if text.parse::<u64>().is_ok() => {
                Ok(Self::Up(count(value, "track_total_hits")? as u64))
            }
            value => Ok(if flag(value, "track_total_hits")? { Self::All } else { Self::Nothing }),
        }
    }
}

/// `30s`, `500ms`, `1m`; `-1` for no end.
pub(super) fn duration(value: &Value, name: &str) -> Result<Duration, DslError> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if text == "-1" {
        return Ok(Duration::MAX);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    let millis = factor.and_then(|factor: u64| number.parse::<u64>().ok()?.checked_mul(factor));
    let bad = || {
        DslError::argument(format!(
            "failed to parse setting [{name}] with value [{text}] as a time value: unit is missing or unrecognized"
        ))
    };
    millis.map(Duration::from_millis).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_total_is_exact_or_refused() {
        assert_eq!(tracked(None, false), Ok(Track::Up(TRACKED)));
        assert_eq!(tracked(None, true), Ok(Track::All));
        assert_eq!(tracked(Some(Track::Nothing), true), Ok(Track::Nothing));
        assert_eq!(tracked(Some(Track::Up(3)), false), Ok(Track::Up(3)));
        let refused = tracked(Some(Track::Up(3)), true).unwrap_err();
        assert!(refused.reason.ends_with("is not accurate, got 3"), "{refused}");
    }
}
