//! What is answered, where handlers make it of JSON values, and parameters that several handlers have.
//!
//! Members that an answer always has are required; others may be there beside those that are named.
#![allow(dead_code, reason = "these types describe; nobody makes one")]

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

/// An object of any kind.
pub(crate) struct Any;

impl PartialSchema for Any {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().description(Some("An object of any kind")).into()
    }
}

impl ToSchema for Any {}

/// Names of indices and patterns with commas between them.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct Index {
    /// Indices, data streams and aliases: names and patterns with `*`, with commas between them.
    #[param(pattern = "^[a-z0-9.*][a-z0-9.*,-]*$")]
    index: String,
}

/// A name.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct Name {
    /// To find or remove: names and patterns with `*`, with commas between them.
    name: String,
}

/// A user's name.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct Username {
    /// The user's name; to show users, several with commas between them.
    #[param(pattern = "^[A-Za-z0-9._@-]+$", max_length = 128)]
    username: String,
}

/// What becomes of names that are not there.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct IndexOptions {
    /// A name without an index is passed over.
    ignore_unavailable: Option<bool>,
    /// Patterns that find nothing are in order (the default).
    allow_no_indices: Option<bool>,
    /// What wildcards stand for: `open`, `hidden`, `all`, `closed`, `none`, with commas between them.
    #[param(pattern = "^(all|open|closed|hidden|none)(,(all|open|closed|hidden|none))*$")]
    expand_wildcards: Option<String>,
}

/// Parameters of a search; those of the body that may stand in the URL too.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct SearchParams {
    /// How many hits at most.
    size: Option<u64>,
    /// How many hits are left out.
    from: Option<u64>,
    /// Fields to sort by, with commas between them: `@timestamp:desc`.
    sort: Option<String>,
    /// `true`, `false` or a number: how many hits are counted exactly.
    #[param(pattern = "^(true|false|-1|[0-9]+)$")]
    track_total_hits: Option<String>,
    /// The search ends after so long with what it has: `30s`.
    #[param(pattern = "^(-1|[0-9]+(ms|s|m|h|d))$")]
    timeout: Option<String>,
    /// The search ends after so many documents.
    terminate_after: Option<u64>,
    /// The total is a plain number, and exact.
    rest_total_hits_as_int: Option<bool>,
    /// Names of aggregations have their types before them: `sterms#hosts`.
    typed_keys: Option<bool>,
    /// Where it is false, a search that runs out of time or cannot read all fails.
    allow_partial_search_results: Option<bool>,
    /// Hits have their version.
    version: Option<bool>,
    /// `true`, `false`, or names and patterns of what is shown.
    #[param(rename = "_source")]
    source: Option<String>,
    /// What is shown.
    #[param(rename = "_source_includes")]
    source_includes: Option<String>,
    /// What is not.
    #[param(rename = "_source_excludes")]
    source_excludes: Option<String>,
}

/// How an EQL search is waited for and kept; the body may say it too.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct EqlParams {
    /// The search goes on without its request after so long: `1s`.
    #[param(pattern = "^(-1|[0-9]+(ms|s|m|h|d))$")]
    wait_for_completion_timeout: Option<String>,
    /// It is kept although it ended in time.
    keep_on_completion: Option<bool>,
    /// Where it is false, a search that runs out of time or cannot read all fails.
    allow_partial_search_results: Option<bool>,
    /// Such a search gives sequences too.
    allow_partial_sequence_results: Option<bool>,
    /// For how long it is kept; five days where nothing is said.
    #[param(pattern = "^(-1|[0-9]+(ms|s|m|h|d))$")]
    keep_alive: Option<String>,
}

/// How a kept search is waited for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct KeptSearchParams {
    /// For how long it is waited for: `1s`; until it ends where nothing is said.
    #[param(pattern = "^(-1|[0-9]+(ms|s|m|h|d))$")]
    wait_for_completion_timeout: Option<String>,
    /// For how long it is kept from now on.
    #[param(pattern = "^(-1|[0-9]+(ms|s|m|h|d))$")]
    keep_alive: Option<String>,
}

/// How a table of `_cat` looks.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CatParams {
    /// With the names of the columns above.
    v: Option<bool>,
    /// `text` or `json`.
    #[param(pattern = "^(text|json)$")]
    format: Option<String>,
    /// Only these columns, with commas between them.
    h: Option<String>,
}

/// Which fields are asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FieldCapsParams {
    /// Names and patterns with commas between them.
    fields: Option<String>,
    /// Only fields of these types.
    types: Option<String>,
    /// Fields of the catalogue that no event has are among them (the default).
    include_empty_fields: Option<bool>,
    /// Where a field is not in all indices, the others are named too.
    include_unmapped: Option<bool>,
    /// `-metadata`, `+metadata`, `-multifield`, `-nested`, `-parent`, with commas between them.
    #[param(
        pattern = "^([+]metadata|-(metadata|multifield|nested|parent))(,([+]metadata|-(metadata|multifield|nested|parent)))*$"
    )]
    filters: Option<String>,
}

/// How the table looks.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CatIndicesParams {
    /// Sizes are plain numbers of this unit: `b`, `kb`, `mb`, `gb`, `tb`, `pb`.
    #[param(pattern = "^(b|[kmgtp]b?)$")]
    bytes: Option<String>,
    /// The columns to sort by, with commas between them: `store.size:desc,index`.
    s: Option<String>,
    /// Only indices of this health, which all are `green`.
    #[param(pattern = "^(green|yellow|red)$")]
    health: Option<String>,
    /// Which columns there are, instead of what stands in them.
    help: Option<bool>,
}

/// Where events go.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct NewIndex {
    /// A data stream or index. It is made when its first event comes.
    #[param(pattern = "^[a-z0-9][a-z0-9._-]*$", max_length = 100)]
    index: String,
}

/// Parameters of `_bulk` and `_create`.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct BulkParams {
    /// Events can be found when they are acknowledged, whatever it says.
    #[param(pattern = "^(true|false|wait_for)$")]
    refresh: Option<String>,
}

/// Parameters of `_doc`.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DocumentParams {
    /// Events can be found when they are acknowledged, whatever it says.
    #[param(pattern = "^(true|false|wait_for)$")]
    refresh: Option<String>,
    /// Both are the same: an id is taken once.
    #[param(pattern = "^(index|create)$")]
    op_type: Option<String>,
}

/// Which API keys are meant.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ApiKeyParams {
    /// The key's id.
    id: Option<String>,
    /// The key's name, or a pattern.
    name: Option<String>,
    /// Whose keys.
    username: Option<String>,
    /// One's own keys alone, also as an admin.
    owner: Option<bool>,
    /// Keys that are of use.
    active_only: Option<bool>,
}

/// A rule is named by one of them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RuleKeyParams {
    /// The rule's id here.
    id: Option<String>,
    /// The rule's id in all installations.
    rule_id: Option<String>,
}

/// Which rules are shown.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FindRulesParams {
    /// A filter in KQL: `alert.attributes.enabled: true`.
    filter: Option<String>,
    /// From 1.
    #[param(minimum = 1)]
    page: Option<u64>,
    /// How many rules a page has.
    #[param(maximum = 10000)]
    per_page: Option<u64>,
    /// Together with `sort_order`.
    #[param(
        pattern = "^(name|enabled|created_at|createdAt|updated_at|updatedAt|risk_score|riskScore|severity|execution_summary\\.last_execution\\.(date|status|metrics\\.(execution_gap_duration_s|total_indexing_duration_ms|total_search_duration_ms)))$"
    )]
    sort_field: Option<String>,
    /// Together with `sort_field`.
    #[param(pattern = "^(asc|desc)$")]
    sort_order: Option<String>,
}

/// How rules are exported.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ExportParams {
    /// Without the line about all.
    exclude_export_details: Option<bool>,
    /// The file's name.
    file_name: Option<String>,
}

/// How rules are imported.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ImportParams {
    /// Rules that are there are replaced.
    overwrite: Option<bool>,
    /// Changes nothing: there are no exception lists yet.
    overwrite_exceptions: Option<bool>,
    /// Changes nothing: there are no connectors yet.
    overwrite_action_connectors: Option<bool>,
    /// Changes nothing: there are no exception lists yet.
    as_new_list: Option<bool>,
}

/// An OpenAPI document.
#[derive(ToSchema)]
pub(crate) struct Document {
    /// The version of OpenAPI.
    openapi: String,
    info: Any,
    paths: Any,
    components: Any,
}

/// A table as JSON: a row is an object of texts.
#[derive(ToSchema)]
pub(crate) struct CatTable(Vec<BTreeMap<String, Option<String>>>);

/// Shards, of which each index has one.
#[derive(ToSchema)]
pub(crate) struct ShardCounts {
    total: u64,
    successful: u64,
    failed: u64,
    /// Data that could not be read.
    #[schema(nullable = false)]
    failures: Option<Vec<Any>>,
}

/// How many there are.
#[derive(ToSchema)]
pub(crate) struct Total {
    value: u64,
    /// `gte` where counting ended.
    relation: Relation,
}

/// Whether a total is exact.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum Relation {
    Eq,
    Gte,
}

/// An event or alert that was found.
#[derive(ToSchema)]
pub(crate) struct Hit {
    _index: String,
    _id: String,
    _score: Option<f64>,
    /// The document.
    #[schema(nullable = false)]
    _source: Option<Any>,
    /// The values of the fields that were asked for.
    #[schema(nullable = false)]
    fields: Option<BTreeMap<String, Vec<Value>>>,
    /// The values it was sorted by: `search_after` of the next page.
    #[schema(nullable = false)]
    sort: Option<Vec<Value>>,
}

/// Hits.
#[derive(ToSchema)]
pub(crate) struct Hits {
    /// Absent if nothing is counted; a number with `rest_total_hits_as_int`.
    total: Option<Value>,
    max_score: Option<f64>,
    hits: Vec<Hit>,
}

/// What a search found.
#[derive(ToSchema)]
pub(crate) struct SearchReply {
    /// Milliseconds.
    took: u64,
    /// Whether time ran out: then it is what was found until then.
    timed_out: bool,
    _shards: ShardCounts,
    hits: Hits,
    /// By name.
    #[schema(nullable = false)]
    aggregations: Option<Any>,
}

/// What several searches found, in their order: each an answer or an error.
#[derive(ToSchema)]
pub(crate) struct MultiSearchReply {
    took: u64,
    responses: Vec<SearchOrError>,
}

/// An answer of a search, or its error.
#[derive(ToSchema)]
pub(crate) struct SearchOrError {
    status: u16,
}

/// How many documents.
#[derive(ToSchema)]
pub(crate) struct CountReply {
    count: u64,
    _shards: ShardCounts,
}

/// What an EQL search found.
#[derive(ToSchema)]
pub(crate) struct EqlReply {
    /// The search's id, if it is kept.
    #[schema(nullable = false)]
    id: Option<String>,
    /// Whether not all was looked at.
    is_partial: bool,
    /// Whether it still runs.
    is_running: bool,
    /// Milliseconds.
    took: u64,
    /// Whether time ran out.
    timed_out: bool,
    hits: EqlHits,
}

/// How far a kept search is.
#[derive(ToSchema)]
pub(crate) struct EqlStatus {
    id: String,
    is_partial: bool,
    is_running: bool,
    /// Milliseconds since 1970; of a search that runs.
    #[schema(nullable = false)]
    start_time_in_millis: Option<i64>,
    /// Until when it is kept, in milliseconds since 1970.
    expiration_time_in_millis: i64,
    /// The status of the answer of a search that ended.
    #[schema(nullable = false)]
    completion_status: Option<u16>,
}

/// Events, sequences or samples.
#[derive(ToSchema)]
pub(crate) struct EqlHits {
    #[schema(nullable = false)]
    total: Option<Total>,
    #[schema(nullable = false)]
    events: Option<Vec<EqlEvent>>,
    #[schema(nullable = false)]
    sequences: Option<Vec<EqlSequence>>,
}

/// An event of an EQL search.
#[derive(ToSchema)]
pub(crate) struct EqlEvent {
    _index: String,
    _id: String,
    _source: Any,
    #[schema(nullable = false)]
    fields: Option<BTreeMap<String, Vec<Value>>>,
    /// Set where the event is one that did not come (`![…]`).
    #[schema(nullable = false)]
    missing: Option<bool>,
}

/// A sequence or sample.
#[derive(ToSchema)]
pub(crate) struct EqlSequence {
    #[schema(nullable = false)]
    join_keys: Option<Vec<Value>>,
    events: Vec<EqlEvent>,
}

/// Which fields there are: by name, then by type.
#[derive(ToSchema)]
pub(crate) struct FieldCapsReply {
    indices: Vec<String>,
    fields: BTreeMap<String, BTreeMap<String, FieldCapability>>,
}

/// What a field can be used for.
#[derive(ToSchema)]
pub(crate) struct FieldCapability {
    r#type: String,
    metadata_field: bool,
    searchable: bool,
    aggregatable: bool,
}

/// What a pattern stands for.
#[derive(ToSchema)]
pub(crate) struct ResolvedIndices {
    indices: Vec<Any>,
    aliases: Vec<Any>,
    data_streams: Vec<Any>,
}

/// What became of the actions, in their order.
#[derive(ToSchema)]
pub(crate) struct BulkReply {
    took: u64,
    /// Whether an action failed.
    errors: bool,
    /// Each an object with the operation's name, and in it `_index`, `_id`, `status`, and `error` where it failed.
    items: Vec<BTreeMap<String, BulkItem>>,
}

/// What became of an action.
#[derive(ToSchema)]
pub(crate) struct BulkItem {
    _index: String,
    _id: Option<String>,
    status: u16,
    #[schema(nullable = false)]
    error: Option<BulkItemError>,
}

/// Why an action failed.
#[derive(ToSchema)]
pub(crate) struct BulkItemError {
    r#type: String,
    reason: String,
}

/// A document that was taken.
#[derive(ToSchema)]
pub(crate) struct DocumentReply {
    _index: String,
    _id: String,
    _version: u64,
    result: String,
    _shards: ShardCounts,
    _seq_no: u64,
    _primary_term: u64,
}

/// It was done.
#[derive(ToSchema)]
pub(crate) struct Acknowledged {
    acknowledged: bool,
}

/// Things by name.
#[derive(ToSchema)]
pub(crate) struct ByName(BTreeMap<String, serde_json::Value>);

/// Nothing by name, or an error.
#[derive(ToSchema)]
pub(crate) struct NotThere(Any);

/// Who answers.
#[derive(ToSchema)]
pub(crate) struct RootReply {
    name: String,
    cluster_name: String,
    cluster_uuid: String,
    version: RootVersion,
    tagline: String,
}

/// Which version's API it is.
#[derive(ToSchema)]
pub(crate) struct RootVersion {
    number: String,
    build_flavor: String,
}

/// A license that is always active.
#[derive(ToSchema)]
pub(crate) struct LicenseReply {
    license: License,
}

/// See [`LicenseReply`].
#[derive(ToSchema)]
pub(crate) struct License {
    status: String,
    uid: String,
    r#type: String,
}

/// Which features there are.
#[derive(ToSchema)]
pub(crate) struct XpackReply {
    build: Any,
    license: License,
    features: BTreeMap<String, Feature>,
    tagline: String,
}

/// Whether a feature is there.
#[derive(ToSchema)]
pub(crate) struct Feature {
    available: bool,
    enabled: bool,
}

/// The cluster's health: yellow while the store's background work fails.
#[derive(ToSchema)]
pub(crate) struct ClusterHealth {
    cluster_name: String,
    status: HealthStatus,
    timed_out: bool,
    number_of_nodes: u64,
    active_shards: u64,
}

/// See [`ClusterHealth`].
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(crate) enum HealthStatus {
    Green,
    Yellow,
}

/// There are no settings of a cluster.
#[derive(ToSchema)]
pub(crate) struct ClusterSettings {
    persistent: Any,
    transient: Any,
}

/// The one node.
#[derive(ToSchema)]
pub(crate) struct NodesReply {
    _nodes: ShardCounts,
    cluster_name: String,
    nodes: BTreeMap<String, Any>,
}

/// Data streams.
#[derive(ToSchema)]
pub(crate) struct DataStreams {
    data_streams: Vec<DataStream>,
}

/// A data stream.
#[derive(ToSchema)]
pub(crate) struct DataStream {
    name: String,
    generation: u64,
    status: String,
    indices: Vec<Any>,
}

/// Whether lifecycles are managed; they are, by `store.retention_age` and `store.retention_size`.
#[derive(ToSchema)]
pub(crate) struct LifecycleStatus {
    operation_mode: String,
}

/// An index was made.
#[derive(ToSchema)]
pub(crate) struct IndexMade {
    acknowledged: bool,
    shards_acknowledged: bool,
    index: String,
}

/// It was done; there was nothing to do.
#[derive(ToSchema)]
pub(crate) struct Refreshed {
    _shards: ShardCounts,
}

/// Aliases that are not there.
#[derive(ToSchema)]
pub(crate) struct AliasMissing {
    /// A text, or an object where the index is not there.
    error: Value,
    status: u16,
}

/// Who one is.
#[derive(ToSchema)]
pub(crate) struct Me {
    username: String,
    roles: Vec<String>,
    full_name: Option<String>,
    email: Option<String>,
    metadata: Any,
    enabled: bool,
    authentication_realm: Realm,
    lookup_realm: Realm,
    authentication_type: String,
}

/// Where users are kept.
#[derive(ToSchema)]
pub(crate) struct Realm {
    name: String,
    r#type: String,
}

/// A new API key: it is shown this once.
#[derive(ToSchema)]
pub(crate) struct ApiKeyMade {
    id: String,
    name: String,
    api_key: String,
    /// What goes behind `ApiKey` in the header.
    encoded: String,
    /// Milliseconds since 1970.
    #[schema(nullable = false)]
    expiration: Option<i64>,
}

/// API keys.
#[derive(ToSchema)]
pub(crate) struct ApiKeys {
    api_keys: Vec<ApiKeyInfo>,
}

/// An API key without its secret.
#[derive(ToSchema)]
pub(crate) struct ApiKeyInfo {
    id: String,
    name: String,
    r#type: String,
    creation: i64,
    #[schema(nullable = false)]
    expiration: Option<i64>,
    invalidated: bool,
    username: String,
    realm: String,
    metadata: Any,
    role_descriptors: Any,
}

/// API keys that are of no use any more.
#[derive(ToSchema)]
pub(crate) struct ApiKeysInvalidated {
    invalidated_api_keys: Vec<String>,
    previously_invalidated_api_keys: Vec<String>,
    error_count: u64,
}

/// Users by name.
#[derive(ToSchema)]
pub(crate) struct UsersReply(BTreeMap<String, UserInfo>);

/// A user.
#[derive(ToSchema)]
pub(crate) struct UserInfo {
    username: String,
    roles: Vec<String>,
    full_name: Option<String>,
    email: Option<String>,
    metadata: Any,
    enabled: bool,
}

/// Whether a user is new.
#[derive(ToSchema)]
pub(crate) struct UserPut {
    created: bool,
}

/// Whether there was such a user.
#[derive(ToSchema)]
pub(crate) struct UserFound {
    found: bool,
}

/// An empty object: it was done.
#[derive(ToSchema)]
pub(crate) struct Nothing {}

/// Roles by name.
#[derive(ToSchema)]
pub(crate) struct RolesReply(BTreeMap<String, RoleInfo>);

/// A role in the words of Elasticsearch.
#[derive(ToSchema)]
pub(crate) struct RoleInfo {
    cluster: Vec<String>,
    indices: Vec<Any>,
    applications: Vec<Any>,
    run_as: Vec<String>,
    metadata: Any,
    description: String,
}

/// What became of a file.
#[derive(ToSchema)]
pub(crate) struct IngestReply {
    took: u64,
    events: u64,
    stored: u64,
    conflicts: u64,
    refused: u64,
    skipped: u64,
    inputs: Vec<IngestedInput>,
    problems: Vec<String>,
}

/// What became of a file, or of a file in an archive.
#[derive(ToSchema)]
pub(crate) struct IngestedInput {
    name: String,
    format: Option<String>,
    events: u64,
    skipped: u64,
    damaged: u64,
    first_skipped: Vec<Any>,
}

/// Whether the service lives.
#[derive(ToSchema)]
pub(crate) struct Health {
    status: String,
    /// Why it is not ready.
    #[schema(nullable = false)]
    reason: Option<String>,
    /// What is to be seen to, though it is ready.
    #[schema(nullable = false)]
    warning: Option<String>,
}

/// A detection rule as Kibana has it, with what its type has beside.
#[derive(ToSchema)]
pub(crate) struct RuleReply {
    id: String,
    rule_id: String,
    name: String,
    description: String,
    r#type: String,
    severity: String,
    risk_score: f64,
    enabled: bool,
    immutable: bool,
    interval: String,
    from: String,
    to: String,
    max_signals: u64,
    tags: Vec<String>,
    version: u64,
    revision: u64,
    created_at: String,
    created_by: String,
    updated_at: String,
    updated_by: String,
    /// What the last execution came to.
    #[schema(nullable = false)]
    execution_summary: Option<Any>,
}

/// A page of rules.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct RulesPage {
    page: u64,
    per_page: u64,
    total: u64,
    data: Vec<RuleReply>,
}

/// What became of an action on rules.
#[derive(ToSchema)]
pub(crate) struct RulesActionReply {
    success: bool,
    rules_count: u64,
    attributes: RulesActionResults,
}

/// What became of an action that failed for some of its rules.
#[derive(ToSchema)]
pub(crate) struct RulesActionFailed {
    message: String,
    status_code: u16,
    attributes: RulesActionResults,
}

/// See [`RulesActionReply`].
#[derive(ToSchema)]
pub(crate) struct RulesActionResults {
    results: RulesActionLists,
    summary: RulesActionSummary,
    #[schema(nullable = false)]
    errors: Option<Vec<Any>>,
}

/// The rules by what became of them.
#[derive(ToSchema)]
pub(crate) struct RulesActionLists {
    updated: Vec<RuleReply>,
    created: Vec<RuleReply>,
    deleted: Vec<RuleReply>,
    skipped: Vec<Any>,
}

/// How many rules.
#[derive(ToSchema)]
pub(crate) struct RulesActionSummary {
    failed: u64,
    succeeded: u64,
    skipped: u64,
    total: u64,
}

/// A file of a form.
#[derive(ToSchema)]
pub(crate) struct ImportForm {
    /// NDJSON: a rule a line.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// What became of imported rules.
#[derive(ToSchema)]
pub(crate) struct ImportReply {
    success: bool,
    success_count: u64,
    rules_count: u64,
    errors: Vec<Any>,
    exceptions_success: bool,
    exceptions_success_count: u64,
    exceptions_errors: Vec<Any>,
    action_connectors_success: bool,
    action_connectors_success_count: u64,
    action_connectors_errors: Vec<Any>,
    action_connectors_warnings: Vec<Any>,
}

/// What became of a preview.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct PreviewReply {
    preview_id: String,
    logs: Vec<PreviewLog>,
    is_aborted: bool,
    /// The alerts that there would be.
    alerts: Vec<Any>,
}

/// See [`PreviewReply`].
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct PreviewLog {
    errors: Vec<String>,
    warnings: Vec<String>,
    started_at: String,
    /// Milliseconds.
    duration: i64,
}

/// How many alerts were changed, in the words of an update by query.
#[derive(ToSchema)]
pub(crate) struct Updated {
    took: u64,
    timed_out: bool,
    total: u64,
    updated: u64,
    version_conflicts: u64,
    failures: Vec<Any>,
}

/// A note that was written.
#[derive(ToSchema)]
pub(crate) struct NoteReply {
    note: Note,
}

/// Notes of alerts.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NotesReply {
    total_count: u64,
    notes: Vec<Note>,
}

/// A note on an alert.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Note {
    note_id: String,
    /// The alert's id.
    event_id: String,
    note: String,
    /// Milliseconds since the Unix epoch.
    created: i64,
    created_by: String,
}

/// How the service is.
#[derive(ToSchema)]
pub(crate) struct StatusReply {
    name: String,
    uuid: String,
    version: Any,
    status: Any,
    metrics: Any,
}

/// A space of Kibana.
#[derive(ToSchema)]
pub(crate) struct Space {
    id: String,
    name: String,
}

/// What the caller may do.
#[derive(ToSchema)]
pub(crate) struct Privileges {
    username: String,
    has_all_requested: bool,
    is_authenticated: bool,
    has_encryption_key: bool,
    cluster: BTreeMap<String, bool>,
    index: BTreeMap<String, BTreeMap<String, bool>>,
    application: Any,
}

/// The index of alerts.
#[derive(ToSchema)]
pub(crate) struct AlertsIndex {
    name: String,
    index_mapping_outdated: bool,
}

/// How many of the bundled rules are installed.
#[derive(ToSchema)]
pub(crate) struct PrepackagedStatus {
    rules_custom_installed: u64,
    rules_installed: u64,
    rules_not_installed: u64,
    rules_not_updated: u64,
    timelines_installed: u64,
    timelines_not_installed: u64,
    timelines_not_updated: u64,
}

/// How many rules were installed now.
#[derive(ToSchema)]
pub(crate) struct PrepackagedInstalled {
    rules_installed: u64,
    rules_updated: u64,
    timelines_installed: u64,
    timelines_updated: u64,
}

/// Why a rule or query fires or does not.
#[derive(ToSchema)]
pub(crate) struct ExplanationReply {
    subject: Any,
    data: Any,
    fired: bool,
    alerts: u64,
    findings: Vec<Any>,
    stages: Vec<Any>,
    sequence: Option<Any>,
    sample: Option<Any>,
    hits: Vec<Any>,
}

/// What an SQL query came to.
#[derive(ToSchema)]
pub(crate) struct SqlReply {
    /// In milliseconds.
    took: u64,
    columns: Vec<SqlReplyColumn>,
    rows: Vec<Vec<Any>>,
    /// There were more rows than asked for.
    truncated: bool,
    /// How many were asked for, if there were more.
    size: Option<u64>,
}

/// A column of an SQL query's rows.
#[derive(ToSchema)]
pub(crate) struct SqlReplyColumn {
    name: String,
    /// As in Elasticsearch: keyword, long, datetime.
    #[schema(rename = "type")]
    ty: String,
}

/// Which rules can fire at all on what is stored.
#[derive(ToSchema)]
pub(crate) struct ReadinessReply {
    totals: Any,
    tactics: Vec<Any>,
    missing: Vec<Any>,
    rules: Vec<Any>,
    data: Any,
    given: Any,
}

/// What a rule would have found.
#[derive(ToSchema)]
pub(crate) struct BacktestReply {
    rule_id: String,
    from: String,
    to: String,
    events: u64,
    /// Milliseconds.
    took: u64,
    alerts: u64,
    alerts_per_day: Vec<DayCount>,
    noisiest: Vec<NoisyField>,
    /// Of how many alerts the noisiest values are.
    looked_at: u64,
}

/// Alerts of a day.
#[derive(ToSchema)]
pub(crate) struct DayCount {
    day: String,
    count: u64,
}

/// The values of a field that most alerts have.
#[derive(ToSchema)]
pub(crate) struct NoisyField {
    field: String,
    values: Vec<ValueCount>,
}

/// A value and how often it occurs.
#[derive(ToSchema)]
pub(crate) struct ValueCount {
    value: String,
    count: u64,
}

/// A window over which a rule was run.
#[derive(ToSchema)]
pub(crate) struct LedgerEntry {
    uuid: String,
    id: String,
    rule_id: String,
    from: String,
    to: String,
    kind: String,
    scheduled: String,
    started: String,
    /// Milliseconds.
    duration: i64,
    status: String,
    matches: u64,
    alerts: u64,
    known_alerts: u64,
    capped: u64,
    late_events: u64,
    missed_events: u64,
    message: Option<String>,
}
