//! Running queries.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::error::ArrowError;
use datafusion::common::{Column, SchemaError};
use datafusion::dataframe::DataFrame;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, GreedyMemoryPool, MemoryPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::object_store::memory::InMemory;
use datafusion::optimizer::Analyzer;
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;

use crate::SqlError;
use crate::any_value::AnyValueRule;
use crate::catalog::{CATALOG, Catalog, SCHEMA, Tables};
use crate::parse::{Parsed, parse};
use crate::source::{Events, Known};
use crate::table::STORE_URL;
use crate::value::{SqlColumn, is_json, rows};

/// Stack of the threads that plan and run queries: expressions may be nested.
const STACK_BYTES: usize = 64 << 20;
/// Rows that are worked on at a time.
const BATCH_ROWS: usize = 8_192;
/// Functions that make much of little, which no limit of memory sees.
const REFUSED_FUNCTIONS: [&str; 7] =
    ["array_repeat", "array_resize", "generate_series", "lpad", "range", "repeat", "rpad"];

/// What all queries together may take.
#[derive(Clone, Copy, Debug)]
pub struct SqlOptions {
    /// Threads.
    pub threads: usize,
    /// Memory for sorting, grouping and joining, in bytes.
    pub memory: usize,
    /// What sets that, for the message.
    pub memory_setting: &'static str,
    /// Whether sorting and grouping may use temporary files beyond that.
    pub may_spill: bool,
}

/// What a query may take.
#[derive(Clone, Copy, Debug, Default)]
pub struct SqlLimits {
    /// Rows of the result; those beyond are cut off, and the result says so.
    pub rows: Option<usize>,
    /// How long it may take, with what sets that, for the message.
    pub time: Option<(Duration, &'static str)>,
}

/// What comes of a query, in this order: columns once, then rows, at last what was cut.
#[derive(Clone, Debug, PartialEq)]
pub enum SqlPart {
    /// The columns of all rows.
    Columns(Vec<SqlColumn>),
    /// Some rows, at least one.
    Rows(Vec<Vec<Value>>),
    /// There were more rows than this limit.
    Cut(usize),
}

/// Runs queries, several at a time.
#[derive(Debug)]
pub struct SqlEngine {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    options: SqlOptions,
    memory: Arc<dyn MemoryPool>,
    known: Arc<Known>,
}

impl Drop for SqlEngine {
    fn drop(&mut self) {
        // Also where dropping must not wait, as on a thread of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl SqlEngine {
    /// An engine with threads and memory of its own.
    ///
    /// # Errors
    /// If the system gives no threads.
    pub fn new(options: SqlOptions) -> std::io::Result<Self> {
        let options = SqlOptions { threads: options.threads.max(1), ..options };
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(options.threads).thread_name("sql").thread_stack_size(STACK_BYTES).enable_time();
        let memory: Arc<dyn MemoryPool> = match options.may_spill {
            true => Arc::new(FairSpillPool::new(options.memory)),
            false => Arc::new(GreedyMemoryPool::new(options.memory)),
        };
        Ok(Self { runtime: Some(builder.build()?), options, memory, known: Arc::default() })
    }

    /// Starts a query. It ends when it is done, or when what is returned is dropped.
    pub fn start(&self, events: Events, sql: &str, limits: SqlLimits) -> SqlRun {
        let (sender, parts) = mpsc::channel(2);
        let Some(runtime) = &self.runtime else { return SqlRun { parts } };
        let (handle, sql, failures) = (runtime.handle().clone(), sql.to_owned(), sender.clone());
        let (known, memory, options) = (self.known.clone(), self.memory.clone(), self.options);
        let query = move || {
            let work = Work { events, known, memory, options, limits, sender };
            let done = catch_unwind(AssertUnwindSafe(|| run(&handle, work, &sql)));
            let done = done.unwrap_or_else(|panic| Err(SqlError::Failed(panic_text(&panic))));
            if let Err(error) = done {
                // Whoever asked may be gone.
                _ = failures.blocking_send(Err(error));
            }
        };
        let thread = std::thread::Builder::new().name("sql query".to_owned()).stack_size(STACK_BYTES).spawn(query);
        if let Err(error) = thread {
            let (sender, parts) = mpsc::channel(1);
            _ = sender.try_send(Err(SqlError::Failed(error.to_string())));
            return SqlRun { parts };
        }
        SqlRun { parts }
    }
}

fn panic_text(panic: &Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("internal error, please report it").to_owned()
}

/// A query that runs.
#[derive(Debug)]
pub struct SqlRun {
    parts: mpsc::Receiver<Result<SqlPart, SqlError>>,
}

impl SqlRun {
    /// What comes next; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<SqlPart, SqlError>> {
        self.parts.recv().await
    }

    /// The same for threads that may wait.
    pub fn blocking_next(&mut self) -> Option<Result<SqlPart, SqlError>> {
        self.parts.blocking_recv()
    }
}

struct Work {
    events: Events,
    known: Arc<Known>,
    memory: Arc<dyn MemoryPool>,
    options: SqlOptions,
    limits: SqlLimits,
    sender: mpsc::Sender<Result<SqlPart, SqlError>>,
}

fn run(handle: &Handle, work: Work, sql: &str) -> Result<(), SqlError> {
    let sender = work.sender.clone();
    let time = work.limits.time;
    handle.block_on(async {
        let answer = work.answer(sql);
        let limited = async {
            match time {
                Some((limit, setting)) => {
                    let done = tokio::time::timeout(limit, answer).await;
                    done.unwrap_or(Err(SqlError::Time { limit, setting }))
                }
                None => answer.await,
            }
        };
        tokio::select! {
            done = limited => done,
            () = sender.closed() => Ok(()),
        }
    })
}

impl Work {
    async fn answer(self, sql: &str) -> Result<(), SqlError> {
        let mut parsed = parse(sql)?;
        let mentioned = parsed.words().filter(|word| eqlipse_ecs::field_type(word).is_some()).map(str::to_owned);
        let tables = Arc::new(Tables::new(self.events.clone(), self.known.clone(), mentioned.collect()));
        resolve(&mut parsed, &tables)?;
        if let Some(name) = parsed.described().filter(|name| tables.has(name)) {
            return self.describe(&name, &tables).await;
        }
        let state = self.state(tables)?;
        let failed = |error: DataFusionError| explained(&error, &parsed, &self.options);
        let statement = Statement::Statement(Box::new(parsed.statement.clone()));
        let plan = state.statement_to_plan(statement).await.map_err(failed)?;
        reading_only().verify_plan(&plan).map_err(failed)?;
        let limit = self.limits.rows.filter(|_| {
            !matches!(plan, LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) | LogicalPlan::DescribeTable(_))
        });
        let mut frame = DataFrame::new(state, plan);
        if let Some(limit) = limit {
            frame = frame.limit(0, Some(limit.saturating_add(1))).map_err(failed)?;
        }
        let columns: Vec<SqlColumn> = frame.schema().fields().iter().map(|field| SqlColumn::of(field)).collect();
        let documents = frame.schema().fields().iter().map(|field| is_json(field)).collect::<Vec<_>>();
        let mut batches = frame.execute_stream().await.map_err(failed)?;
        if self.sender.send(Ok(SqlPart::Columns(columns))).await.is_err() {
            return Ok(());
        }
        let mut left = self.limits.rows.unwrap_or(usize::MAX);
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(failed)?;
            let fitting = batch.slice(0, batch.num_rows().min(left));
            left -= fitting.num_rows();
            // In small portions, as a row may be large.
            for start in (0..fitting.num_rows()).step_by(256) {
                let portion = fitting.slice(start, (fitting.num_rows() - start).min(256));
                if self.sender.send(Ok(SqlPart::Rows(rows(&portion, &documents)?))).await.is_err() {
                    return Ok(());
                }
            }
            if fitting.num_rows() < batch.num_rows() {
                _ = self.sender.send(Ok(SqlPart::Cut(self.limits.rows.unwrap_or_default()))).await;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Says which columns a table has, in the words that results have for types.
    async fn describe(&self, name: &str, tables: &Tables) -> Result<(), SqlError> {
        let Some(table) = tables.make(name)? else { return Ok(()) };
        let columns = ["column", "type"].map(|name| SqlColumn { name: name.to_owned(), ty: "keyword" });
        let list = SqlColumn { name: "list".to_owned(), ty: "boolean" };
        let schema = table.schema();
        let rows = schema.fields().iter().map(|field| {
            let column = SqlColumn::of(field);
            vec![column.name.into(), column.ty.into(), field.data_type().is_nested().into()]
        });
        for part in [SqlPart::Columns(columns.into_iter().chain([list]).collect()), SqlPart::Rows(rows.collect())] {
            // Whoever asked may be gone.
            _ = self.sender.send(Ok(part)).await;
        }
        Ok(())
    }

    fn state(&self, tables: Arc<Tables>) -> Result<SessionState, SqlError> {
        let mut config = SessionConfig::new()
            .with_target_partitions(self.options.threads)
            .with_batch_size(BATCH_ROWS)
            .with_information_schema(true)
            .with_create_default_catalog_and_schema(false)
            .with_default_catalog_and_schema(CATALOG, SCHEMA);
        let options = config.options_mut();
        options.sql_parser.enable_ident_normalization = false;
        options.sql_parser.collect_spans = true;
        options.execution.time_zone = Some("UTC".to_owned());
        let environment = self.environment().map_err(|error| SqlError::Failed(error.to_string()))?;
        let mut analyzer = Analyzer::new();
        analyzer.rules.insert(0, Arc::new(AnyValueRule));
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(environment)
            .with_default_features()
            .with_analyzer_rules(analyzer.rules)
            .build();
        let context = SessionContext::new_with_state(state);
        for name in REFUSED_FUNCTIONS {
            context.deregister_udf(name);
        }
        context.register_catalog(CATALOG, Arc::new(Catalog(tables)));
        Ok(context.state())
    }

    /// Memory, temporary files, and no place where files could be but our own.
    fn environment(&self) -> datafusion::error::Result<Arc<RuntimeEnv>> {
        let disk = if self.options.may_spill { DiskManagerMode::OsTmpDirectory } else { DiskManagerMode::Disabled };
        let builder = RuntimeEnvBuilder::new()
            .with_memory_pool(self.memory.clone())
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(disk));
        let environment = builder.build_arc()?;
        environment.deregister_object_store(ObjectStoreUrl::local_filesystem().as_ref())?;
        environment.register_object_store(ObjectStoreUrl::parse(STORE_URL)?.as_ref(), Arc::new(InMemory::new()));
        Ok(environment)
    }
}

/// What statements may do, once more.
fn reading_only() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}

/// Makes the tables, and gives names their form.
fn resolve(parsed: &mut Parsed, tables: &Tables) -> Result<(), SqlError> {
    let mut made = Vec::new();
    for name in parsed.tables() {
        match tables.make(&name)? {
            Some(table) => made.push(table.schema()),
            None if name.to_ascii_lowercase().starts_with("information_schema.") => {}
            None => return Err(unknown_table(parsed, tables, &name)),
        }
    }
    let fields: BTreeSet<&str> =
        made.iter().flat_map(|schema| schema.fields().iter().map(|field| field.name().as_str())).collect();
    parsed.resolve(&fields);
    Ok(())
}

fn unknown_table(parsed: &Parsed, tables: &Tables, name: &str) -> SqlError {
    let known: Vec<&str> = tables.names().collect();
    let hint = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if known.len() > 20 => "SHOW TABLES lists those that there are".to_owned(),
        None => format!("there are: {}", known.join(", ")),
    };
    parsed.about(name, format!("no data stream is called or matches \"{name}\"; {hint}"))
}

/// The candidate that a misspelt name was meant to be.
fn nearest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let name = name.to_ascii_lowercase();
    let budget = 1 + name.chars().count() / 4;
    candidates
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= budget)
        .map(|candidate| (strsim::damerau_levenshtein(&name, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= budget)
        .min()
        .map(|(_, candidate)| candidate)
}

/// DataFusion's errors in the words of this service.
fn explained(error: &DataFusionError, parsed: &Parsed, options: &SqlOptions) -> SqlError {
    let place = error.diagnostic().and_then(|diagnostic| diagnostic.span);
    match error.find_root() {
        DataFusionError::SchemaError(error, _) => match error.as_ref() {
            SchemaError::FieldNotFound { field, valid_fields } => unknown_column(parsed, field, valid_fields),
            other => SqlError::Query(other.to_string()),
        },
        DataFusionError::ResourcesExhausted(reason) => SqlError::Memory {
            limit: options.memory,
            setting: options.memory_setting,
            reason: reason.lines().next().unwrap_or_default().to_owned(),
        },
        DataFusionError::External(error) => SqlError::Failed(error.to_string()),
        DataFusionError::ParquetError(error) => SqlError::Failed(error.to_string()),
        DataFusionError::Internal(reason) => SqlError::Failed(reason.clone()),
        fault @ (DataFusionError::IoError(_) | DataFusionError::ExecutionJoin(_) | DataFusionError::ObjectStore(_)) => {
            SqlError::Failed(fault.strip_backtrace())
        }
        DataFusionError::ArrowError(error, _)
            if matches!(**error, ArrowError::IoError(..) | ArrowError::ParquetError(_) | ArrowError::IpcError(_)) =>
        {
            SqlError::Failed(error.to_string())
        }
        other => {
            let message = match other {
                DataFusionError::Plan(text)
                | DataFusionError::Execution(text)
                | DataFusionError::NotImplemented(text) => {
                    text.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or_default().to_owned()
                }
                other => other.strip_backtrace(),
            };
            match place {
                Some(span) => SqlError::At { line: span.start.line, column: span.start.column, message },
                None => SqlError::Query(message),
            }
        }
    }
}

fn unknown_column(parsed: &Parsed, field: &Column, valid: &[Column]) -> SqlError {
    let name = field.name();
    let near = nearest(name, valid.iter().map(Column::name)).map(str::to_owned);
    let hint = match near.or_else(|| eqlipse_ecs::suggest(name).map(str::to_owned)) {
        Some(near) => format!("did you mean {near}?"),
        None => "DESCRIBE with the table's name lists its columns; texts stand in single quotes".to_owned(),
    };
    parsed.about(name, format!("unknown column {name}: {hint}"))
}
