//! Which columns a file has.

use std::collections::BTreeMap;
use std::sync::Arc;

use eqlipse_ecs::FieldType;
use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as PhysicalType};
use parquet::errors::Result;
use parquet::schema::types::{Type, TypePtr};

/// How a Parquet file begins and ends.
pub(crate) const MAGIC: &[u8] = b"PAR1";

/// The version of the layout, which is also the mark of a file that eqlipse wrote.
pub(super) const VERSION: &str = "1";
/// The key of the version in the file's metadata.
pub(super) const VERSION_KEY: &str = "eqlipse.layout";
/// The key of the fields' types in the file's metadata: a JSON object.
pub(super) const TYPES_KEY: &str = "eqlipse.types";
/// The key of what stands in [`OTHER`] in the file's metadata: a JSON object with the kinds of the values of each field.
/// Absent where there are too many fields, and from files of before.
pub(super) const OTHERS_KEY: &str = "eqlipse.others";

/// The hit's index, as it was given.
pub(super) const INDEX: &str = "_index";
/// The hit's id.
pub(super) const ID: &str = "_id";
/// The names that a rule's index patterns are matched against.
pub(super) const INDEX_NAMES: &str = "_index_names";
/// What orders the events, in nanoseconds.
pub(super) const TIME: &str = "_time";
/// What orders events of the same time.
pub(super) const SEQUENCE: &str = "_sequence";
/// What tells an event from its copies.
pub(super) const IDENTITY: &str = "_identity";
/// Values that no column holds, by field: a JSON object.
pub(super) const OTHER: &str = "_other";
/// The document.
pub(super) const SOURCE: &str = "_source";

/// Columns that are no fields.
pub(super) const OWN_COLUMNS: [&str; 8] = [INDEX, ID, INDEX_NAMES, TIME, SEQUENCE, IDENTITY, OTHER, SOURCE];

/// Bytes of an identity.
pub(super) const IDENTITY_LENGTH: usize = 16;

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Text,
    Long,
    Double,
    Boolean,
    /// Nanoseconds since the Unix epoch.
    Date,
    /// Sixteen bytes.
    Identity,
}

impl Kind {
    /// The kind of a field's column; `None` for a field that takes the type of each value.
    pub(super) fn of(ty: FieldType) -> Option<Self> {
        Some(match ty {
            FieldType::Keyword | FieldType::Version | FieldType::Ip => Self::Text,
            FieldType::Long => Self::Long,
            FieldType::Double => Self::Double,
            FieldType::Boolean => Self::Boolean,
            FieldType::Date => Self::Date,
            FieldType::Dynamic => return None,
        })
    }

    fn physical(self) -> PhysicalType {
        match self {
            Self::Text => PhysicalType::BYTE_ARRAY,
            Self::Long | Self::Date => PhysicalType::INT64,
            Self::Double => PhysicalType::DOUBLE,
            Self::Boolean => PhysicalType::BOOLEAN,
            Self::Identity => PhysicalType::FIXED_LEN_BYTE_ARRAY,
        }
    }

    fn logical(self) -> Option<LogicalType> {
        match self {
            Self::Text => Some(LogicalType::String),
            Self::Date => Some(LogicalType::timestamp(true, TimeUnit::NANOS)),
            Self::Long | Self::Double | Self::Boolean | Self::Identity => None,
        }
    }

    /// The kind that a column of another file has.
    pub(super) fn of_column(physical: PhysicalType, logical: Option<&LogicalType>, length: i32) -> Option<Self> {
        Some(match (physical, logical) {
            (PhysicalType::BYTE_ARRAY, _) => Self::Text,
            (PhysicalType::INT64, Some(LogicalType::Timestamp { .. })) => Self::Date,
            (PhysicalType::INT64, _) => Self::Long,
            (PhysicalType::DOUBLE, _) => Self::Double,
            (PhysicalType::BOOLEAN, _) => Self::Boolean,
            (PhysicalType::FIXED_LEN_BYTE_ARRAY, _) if length == IDENTITY_LENGTH as i32 => Self::Identity,
            _ => return None,
        })
    }
}

/// How often a row has a value in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    Required,
    Optional,
    /// A list, which is absent and not empty where there is no value.
    List,
}

impl Count {
    /// The definition level of a value that is there.
    pub(super) fn max_definition(self) -> u32 {
        match self {
            Self::Required => 0,
            Self::Optional => 1,
            Self::List => 2,
        }
    }
}

/// A column to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ColumnSpec {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) count: Count,
}

impl ColumnSpec {
    pub(super) fn new(name: &str, kind: Kind, count: Count) -> Self {
        Self { name: name.to_owned(), kind, count }
    }

    fn node(&self) -> Result<Type> {
        let primitive = |name: &str, repetition| {
            let builder = Type::primitive_type_builder(name, self.kind.physical()).with_repetition(repetition);
            let builder =
                if self.kind == Kind::Identity { builder.with_length(IDENTITY_LENGTH as i32) } else { builder };
            builder.with_logical_type(self.kind.logical()).build()
        };
        match self.count {
            Count::Required => primitive(&self.name, Repetition::REQUIRED),
            Count::Optional => primitive(&self.name, Repetition::OPTIONAL),
            Count::List => {
                let element = Arc::new(primitive("element", Repetition::REQUIRED)?);
                let list = Type::group_type_builder("list").with_repetition(Repetition::REPEATED);
                let list = Arc::new(list.with_fields(vec![element]).build()?);
                let group = Type::group_type_builder(&self.name).with_repetition(Repetition::OPTIONAL);
                group.with_logical_type(Some(LogicalType::List)).with_fields(vec![list]).build()
            }
        }
    }
}

/// All columns of a file: the fields', by name, then those of [`OWN_COLUMNS`].
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) fields: Vec<ColumnSpec>,
    /// Types by field, of those that have a column.
    pub(super) types: BTreeMap<String, &'static str>,
    /// Whether some value stands in no column.
    pub(super) has_other_fields: bool,
}

impl Layout {
    /// The columns that are no fields, in their order in the file.
    pub(super) fn own() -> [ColumnSpec; 8] {
        [
            ColumnSpec::new(INDEX, Kind::Text, Count::Optional),
            ColumnSpec::new(ID, Kind::Text, Count::Optional),
            ColumnSpec::new(INDEX_NAMES, Kind::Text, Count::List),
            ColumnSpec::new(TIME, Kind::Date, Count::Optional),
            ColumnSpec::new(SEQUENCE, Kind::Long, Count::Optional),
            ColumnSpec::new(IDENTITY, Kind::Identity, Count::Optional),
            ColumnSpec::new(OTHER, Kind::Text, Count::Optional),
            ColumnSpec::new(SOURCE, Kind::Text, Count::Required),
        ]
    }

    pub(super) fn schema(&self) -> Result<TypePtr> {
        let own = Self::own();
        let nodes = self.fields.iter().chain(&own).map(|column| column.node().map(Arc::new));
        let fields = nodes.collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(Type::group_type_builder("schema").with_fields(fields).build()?))
    }
}
