//! Tables: the events of some data streams.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, BooleanArray, TimestampNanosecondArray, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::scalar::ScalarValue;
use eqlipse_ecs::FieldType;

use crate::field::Adapters;
use crate::file::{FileShape, ID, INDEX, OWN_COLUMNS, Place, Readers, SOURCE, TIMESTAMP};
use crate::kind::{Kind, Shape};

/// Where files are, for DataFusion, which looks no further: [`Readers`] read them.
pub(crate) const STORE_URL: &str = "eqlipse://events";
/// The mark of a column that holds JSON, in its field's metadata.
pub(crate) const JSON_MARK: &str = "eqlipse.json";
/// Fields that have one value whatever a document says: what is asked for by time must not become a list.
const SINGLE_FIELDS: [&str; 2] = [TIMESTAMP, "event.ingested"];

/// A file of a table.
#[derive(Clone, Debug)]
pub(crate) struct TableFile {
    /// What messages and plans call it.
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) bytes: u64,
    pub(crate) shape: Arc<FileShape>,
}

/// Files as one table.
#[derive(Debug)]
pub(crate) struct EventTable {
    schema: SchemaRef,
    files: Vec<TableFile>,
}

impl EventTable {
    /// The table of these files. Of the fields that are mentioned, those that the catalogue knows are columns even if no
    /// event has them.
    pub(crate) fn new(files: Vec<TableFile>, mentioned: &BTreeSet<String>) -> Self {
        Self { schema: Arc::new(schema(files.iter().map(|file| &*file.shape), mentioned)), files }
    }

    /// The files that may have events that pass the filters, by their times.
    fn pruned(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<&TableFile>> {
        let mut kept = vec![true; self.files.len()];
        let schema = DFSchema::try_from(self.schema.clone())?;
        let times = FileTimes(&self.files);
        for filter in filters {
            if !filter.column_refs().iter().any(|column| column.name == TIMESTAMP) {
                continue;
            }
            // A filter that says nothing about times leaves all files.
            let predicate = state.create_physical_expr(filter.clone(), &schema).and_then(|filter| {
                PruningPredicateBuilder::new().with_file_schema(self.schema.clone()).try_build(filter)
            });
            let Ok(passed) = predicate.and_then(|predicate| predicate.prune(&times)) else { continue };
            kept.iter_mut().zip(passed).for_each(|(kept, passed)| *kept &= passed);
        }
        Ok(self.files.iter().zip(kept).filter_map(|(file, kept)| kept.then_some(file)).collect())
    }
}

/// The columns that all these files together have.
fn schema<'f>(shapes: impl Iterator<Item = &'f FileShape>, mentioned: &BTreeSet<String>) -> Schema {
    let mut fields: BTreeMap<Arc<str>, Shape> = BTreeMap::new();
    let mut add = |name: &Arc<str>, shape: Shape| match fields.get_mut(name) {
        Some(known) => {
            known.kind = known.kind.wider(shape.kind);
            known.is_list |= shape.is_list;
        }
        None => _ = fields.insert(name.clone(), shape),
    };
    for file in shapes {
        for (name, shape) in &file.fields {
            add(name, *shape);
        }
        for (name, (kind, has_several)) in &file.others {
            let shape = match eqlipse_ecs::field_type(name).unwrap_or(FieldType::Dynamic) {
                FieldType::Dynamic => Shape { kind: *kind, is_list: *has_several },
                // Of such a field, what does not have its type has no place in SQL.
                ty => Shape { kind: kind_of(ty), is_list: *has_several },
            };
            add(name, shape);
        }
    }
    for name in SINGLE_FIELDS {
        if let Some(shape) = fields.get_mut(name) {
            *shape = Shape { kind: Kind::Date, is_list: false };
        }
    }
    for name in mentioned.iter().filter(|name| !OWN_COLUMNS.contains(&name.as_str())) {
        // In another case it may be a field that is there.
        let is_there = fields.keys().any(|known| known.eq_ignore_ascii_case(name));
        if let Some(ty) = eqlipse_ecs::field_type(name).filter(|_| !is_there) {
            fields.entry(Arc::from(name.as_str())).or_insert(Shape { kind: kind_of(ty), is_list: false });
        }
    }
    // There is always a time to ask for.
    fields.entry(Arc::from(TIMESTAMP)).or_insert(Shape { kind: Kind::Date, is_list: false });
    let mut columns: Vec<Field> =
        fields.iter().map(|(name, shape)| Field::new(&**name, shape.data_type(), true)).collect();
    columns.extend([INDEX, ID].map(|name| Field::new(name, DataType::Utf8View, true)));
    let mark = [(JSON_MARK.to_owned(), String::new())].into();
    columns.push(Field::new(SOURCE, DataType::Utf8View, true).with_metadata(mark));
    Schema::new(columns)
}

fn kind_of(ty: FieldType) -> Kind {
    match ty {
        FieldType::Keyword | FieldType::Version | FieldType::Ip | FieldType::Dynamic => Kind::Text,
        FieldType::Long => Kind::Long,
        FieldType::Double => Kind::Double,
        FieldType::Boolean => Kind::Boolean,
        FieldType::Date => Kind::Date,
    }
}

#[async_trait]
impl TableProvider for EventTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let source = ParquetSource::new(self.schema.clone()).with_parquet_file_reader_factory(Arc::new(Readers));
        let groups = groups(&self.pruned(state, filters)?, state.config().target_partitions());
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(STORE_URL)?, Arc::new(source))
            .with_file_groups(groups)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_expr_adapter(Some(Arc::new(Adapters)));
        Ok(DataSourceExec::from_data_source(config.build()))
    }
}

/// Files for so many threads, of about the same size.
fn groups(files: &[&TableFile], threads: usize) -> Vec<FileGroup> {
    let mut groups: Vec<(u64, Vec<PartitionedFile>)> = vec![(0, Vec::new()); threads.clamp(1, files.len().max(1))];
    for (place, file) in files.iter().enumerate() {
        let smallest = groups.iter_mut().min_by_key(|(bytes, _)| *bytes);
        let Some((bytes, group)) = smallest else { continue };
        *bytes += file.bytes + 1;
        // The name is for plans only; two files may have the same.
        let name = format!("{place}-{}", file.name);
        group.push(PartitionedFile::new(name, file.bytes).with_extension(file.place.clone()));
    }
    groups.into_iter().map(|(_, files)| FileGroup::new(files)).collect()
}

/// What is known of the times of files.
struct FileTimes<'t>(&'t [TableFile]);

impl FileTimes<'_> {
    fn times(&self, column: &Column, which: impl Fn((i64, i64)) -> i64) -> Option<ArrayRef> {
        let times = self.0.iter().map(|file| file.shape.times.map(&which));
        let times: TimestampNanosecondArray = times.collect();
        (column.name == TIMESTAMP).then(|| Arc::new(times.with_timezone("UTC")) as ArrayRef)
    }
}

impl PruningStatistics for FileTimes<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.times(column, |(first, _)| first)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.times(column, |(_, last)| last)
    }

    fn num_containers(&self) -> usize {
        self.0.len()
    }

    fn null_counts(&self, _: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.0.iter().map(|file| Some(file.shape.rows)).collect::<UInt64Array>()))
    }

    fn contained(&self, _: &Column, _: &std::collections::HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
