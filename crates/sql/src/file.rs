//! Files of events, and how DataFusion reads them.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::DataType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::ParquetFileReaderFactory;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::arrow::{ProjectionMask, parquet_to_arrow_schema};
use datafusion::parquet::errors::{ParquetError, Result as ParquetResult};
use datafusion::parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use datafusion::parquet::file::reader::ChunkReader;
use datafusion::parquet::file::statistics::Statistics;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use eqlipse_events::Fetch;
use eqlipse_events::json::logical_index;
use eqlipse_store::Part;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::SqlError;
use crate::kind::{Kind, Shape};

/// The key of the layout's version in a file's metadata: the mark of a file that eqlipse wrote.
const VERSION_KEY: &str = "eqlipse.layout";
/// The key of what stands in [`OTHER`].
pub(crate) const OTHERS_KEY: &str = "eqlipse.others";
/// The column of values that no other column holds: a JSON object.
pub(crate) const OTHER: &str = "_other";
/// The hit's index.
pub(crate) const INDEX: &str = "_index";
/// The hit's id.
pub(crate) const ID: &str = "_id";
/// The document.
pub(crate) const SOURCE: &str = "_source";
/// When an event was.
pub(crate) const TIMESTAMP: &str = "@timestamp";

/// Columns that are no fields.
pub(crate) const OWN_COLUMNS: [&str; 8] = [INDEX, ID, "_index_names", "_time", "_sequence", "_identity", OTHER, SOURCE];

/// What a file has, as its footer tells. Small, as it is kept for many files.
#[derive(Debug)]
pub(crate) struct FileShape {
    /// The columns of fields.
    pub(crate) fields: BTreeMap<Arc<str>, Shape>,
    /// Kinds of values that stand in no column, by field; whether some event has several.
    pub(crate) others: BTreeMap<Arc<str>, (Kind, bool)>,
    pub(crate) rows: u64,
    /// The first and the last `@timestamp`; `None` if it is not known, or no event has one.
    pub(crate) times: Option<(i64, i64)>,
}

/// What knows the names of fields already, so that each is in memory once.
pub(crate) type Names = BTreeSet<Arc<str>>;

fn interned(names: &mut Names, name: &str) -> Arc<str> {
    match names.get(name) {
        Some(known) => known.clone(),
        None => {
            let name: Arc<str> = Arc::from(name);
            names.insert(name.clone());
            name
        }
    }
}

impl FileShape {
    /// What a footer tells.
    pub(crate) fn of(metadata: &ParquetMetaData, names: &mut Names) -> Result<Self, String> {
        let file = metadata.file_metadata();
        let pairs = file.key_value_metadata();
        let value = |key: &str| pairs?.iter().find(|pair| pair.key == key)?.value.as_deref();
        if value(VERSION_KEY).is_none() {
            let hint = "make NDJSON of it first, as with duckdb -c \"COPY (FROM 'x.parquet') TO 'x.ndjson'\", and \
                        Parquet of that with 'eqlipse convert --to parquet'";
            return Err(format!("a Parquet file that eqlipse did not write: {hint}"));
        }
        let schema = parquet_to_arrow_schema(file.schema_descr(), None).map_err(|error| error.to_string())?;
        let fields = schema.fields().iter().filter(|field| !OWN_COLUMNS.contains(&field.name().as_str()));
        let fields = fields.filter_map(|field| Some((interned(names, field.name()), Shape::of(field.data_type())?)));
        let fields = fields.collect();
        let others: BTreeMap<String, Vec<String>> =
            value(OTHERS_KEY).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        // A time may stand beside its column, too.
        let tells_times = value(OTHERS_KEY).is_some() && !others.contains_key(TIMESTAMP);
        let others = others.iter().filter_map(|(field, kinds)| {
            let kind = kinds.iter().filter_map(|kind| Kind::of_other(kind)).reduce(Kind::wider)?;
            let has_several = kinds.iter().any(|kind| kind == "several");
            Some((interned(names, field), (kind, has_several)))
        });
        let rows = u64::try_from(file.num_rows()).unwrap_or_default();
        Ok(Self { fields, others: others.collect(), rows, times: tells_times.then(|| times(metadata)).flatten() })
    }
}

/// The first and the last `@timestamp` of all row groups.
fn times(metadata: &ParquetMetaData) -> Option<(i64, i64)> {
    let column = (0..metadata.file_metadata().schema_descr().num_columns())
        .find(|column| metadata.file_metadata().schema_descr().column(*column).path().string() == TIMESTAMP)?;
    let mut all: Option<(i64, i64)> = None;
    for group in metadata.row_groups() {
        let statistics = group.column(column).statistics()?;
        // A row without a time is in no range, so only those with one count.
        if statistics.null_count_opt() == Some(group.num_rows() as u64) {
            continue;
        }
        let Statistics::Int64(times) = statistics else { return None };
        let (first, last) = (*times.min_opt()?, *times.max_opt()?);
        all = Some(all.map_or((first, last), |(from, to)| (from.min(first), to.max(last))));
    }
    all
}

/// Keeps a file where it is.
type Held = Option<Box<dyn Any + Send>>;

/// Where a file's bytes are.
#[derive(Clone)]
pub(crate) enum Place {
    Path {
        path: PathBuf,
        /// Of a segment, which may have to be fetched from an object store.
        part: Option<Arc<Part>>,
    },
    Memory(Bytes),
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path { path, .. } => path.fmt(f),
            Self::Memory(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

impl Place {
    /// Opens a file, which stays where it is until what stands beside it is dropped.
    fn open(path: &Path, part: Option<&Arc<Part>>) -> io::Result<(File, Held)> {
        let held = part.map(|part| part.fetch()).transpose()?;
        Ok((File::open(path)?, held))
    }

    /// Reads the footer.
    pub(crate) fn metadata(&self) -> Result<ParquetMetaData, SqlError> {
        match self {
            Self::Path { path, part } => {
                let (file, _held) = Self::open(path, part.as_ref()).map_err(unreadable(path))?;
                footer(&file, PageIndexPolicy::Skip).map_err(unreadable(path))
            }
            Self::Memory(bytes) => {
                footer(bytes, PageIndexPolicy::Skip).map_err(|error| SqlError::Recent(error.to_string()))
            }
        }
    }

    /// The indices that its rows name. Rows without one count as the index "".
    pub(crate) fn indices(&self) -> Result<BTreeSet<String>, SqlError> {
        match self {
            Self::Path { path, part } => {
                let (file, _held) = Self::open(path, part.as_ref()).map_err(unreadable(path))?;
                indices(file).map_err(unreadable(path))
            }
            Self::Memory(bytes) => indices(bytes.clone()).map_err(|error| SqlError::Recent(error.to_string())),
        }
    }
}

fn unreadable<E: fmt::Display>(path: &Path) -> impl FnOnce(E) -> SqlError {
    let path = path.to_owned();
    move |error| SqlError::Read { path, reason: error.to_string() }
}

fn footer(file: &impl ChunkReader, pages: PageIndexPolicy) -> ParquetResult<ParquetMetaData> {
    ParquetMetaDataReader::new().with_page_index_policy(pages).parse_and_finish(file)
}

/// The distinct values of the index column.
fn indices(file: impl ChunkReader + 'static) -> ParquetResult<BTreeSet<String>> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), [INDEX]);
    let mut indices = BTreeSet::new();
    for batch in builder.with_projection(mask).with_batch_size(8_192).build()? {
        let batch = batch?;
        let Some(column) = batch.column_by_name(INDEX).filter(|column| *column.data_type() == DataType::Utf8) else {
            return Err(ParquetError::General("it has no column of indices".to_owned()));
        };
        let column = column.as_string::<i32>();
        let mut last = None;
        for row in 0..column.len() {
            let index = if column.is_null(row) { "" } else { column.value(row) };
            if last != Some(index) {
                last = Some(index);
                if !indices.contains(index) {
                    indices.insert(index.to_owned());
                }
            }
        }
    }
    Ok(indices)
}

/// The name of the data stream behind an index.
pub(crate) fn stream_of(index: &str) -> &str {
    logical_index(index)
}

/// Makes readers of the files that [`PartitionedFile`]s have as extension.
#[derive(Debug)]
pub(crate) struct Readers;

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        _: usize,
        file: PartitionedFile,
        _: Option<usize>,
        _: &ExecutionPlanMetricsSet,
    ) -> DataFusionResult<Box<dyn AsyncFileReader + Send>> {
        let place = file.extension::<Place>().cloned();
        let place = place.ok_or_else(|| DataFusionError::Internal("a file without a place".to_owned()))?;
        Ok(Box::new(PlaceReader { place, file: None, held: None }))
    }
}

/// Reads a file. The threads are the query's own, so that they may wait for the disk.
struct PlaceReader {
    place: Place,
    /// Opened when it is first read.
    file: Option<File>,
    held: Held,
}

impl PlaceReader {
    fn open(&mut self) -> ParquetResult<Option<&mut File>> {
        let Place::Path { path, part } = &self.place else { return Ok(None) };
        if self.file.is_none() {
            let (file, held) = Place::open(path, part.as_ref()).map_err(|error| failed(&self.place, &error))?;
            (self.file, self.held) = (Some(file), held);
        }
        Ok(self.file.as_mut())
    }

    fn read(&mut self, range: &Range<u64>) -> ParquetResult<Bytes> {
        if let Place::Memory(bytes) = &self.place {
            let range =
                usize::try_from(range.start).unwrap_or(usize::MAX)..usize::try_from(range.end).unwrap_or(usize::MAX);
            let is_inside = range.start <= range.end && range.end <= bytes.len();
            return match is_inside {
                true => Ok(bytes.slice(range)),
                false => Err(ParquetError::EOF("recent events end early".to_owned())),
            };
        }
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        let place = self.place.clone();
        let Some(file) = self.open()? else { return Ok(Bytes::new()) };
        let mut read = || {
            // What a damaged footer claims is not believed before it was read.
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(range.start))?;
            file.by_ref().take(length as u64).read_to_end(&mut bytes)?;
            if bytes.len() == length { Ok(bytes) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
        };
        read().map(Bytes::from).map_err(|error: std::io::Error| failed(&place, &error))
    }

    fn metadata(&mut self, pages: PageIndexPolicy) -> ParquetResult<Arc<ParquetMetaData>> {
        if let Place::Memory(bytes) = &self.place {
            return Ok(Arc::new(footer(bytes, pages)?));
        }
        let place = self.place.clone();
        let Some(file) = self.open()? else { return Err(ParquetError::EOF("no file".to_owned())) };
        footer(&*file, pages).map(Arc::new).map_err(|error| failed(&place, &error))
    }
}

fn failed(place: &Place, error: &dyn fmt::Display) -> ParquetError {
    ParquetError::General(format!("{place:?}: {error}"))
}

impl AsyncFileReader for PlaceReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        async move { self.read(&range) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        let pages = options.map_or(PageIndexPolicy::Skip, ArrowReaderOptions::offset_index_policy);
        async move { self.metadata(pages) }.boxed()
    }
}
