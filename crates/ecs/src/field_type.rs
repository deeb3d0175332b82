/// The type of a field, after Elasticsearch's mapping types, folded to those whose predicates differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FieldType {
    /// Exact text: `keyword`, `wildcard`, `constant_keyword`, `flattened` leaves, and `text` through its keyword
    /// sub-field. Numbers and booleans in the data become their decimal text.
    Keyword,
    /// Whole numbers: `long`, `integer`, `short`, `byte`, `unsigned_long`. Numeric strings are read as numbers.
    Long,
    /// Floating point numbers: `double`, `float`, `half_float`, `scaled_float`.
    Double,
    /// `boolean`; the strings `"true"` and `"false"` are read as booleans.
    Boolean,
    /// A point in time, i64 nanoseconds since the Unix epoch, UTC. ISO 8601 text, or a number of milliseconds.
    Date,
    /// An IPv4 or IPv6 address.
    Ip,
    /// A semantic version, ordered by its parts.
    Version,
    /// Not in the catalogue: each value keeps the type that it has in the data.
    Dynamic,
}

impl FieldType {
    /// The type that an Elasticsearch mapping name (`keyword`, `match_only_text`, `scaled_float` …) folds to;
    /// `None` for types that hold no value of their own (`object`, `nested`) or that EQL refuses (geo, ranges).
    pub fn from_mapping(name: &str) -> Option<Self> {
        Some(match name {
            "keyword" | "wildcard" | "constant_keyword" | "text" | "match_only_text" | "flattened" => Self::Keyword,
            "long" | "integer" | "short" | "byte" | "unsigned_long" => Self::Long,
            "double" | "float" | "half_float" | "scaled_float" => Self::Double,
            "boolean" => Self::Boolean,
            "date" | "date_nanos" => Self::Date,
            "ip" => Self::Ip,
            "version" => Self::Version,
            _ => return None,
        })
    }

    /// The name shown to users.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keyword => "keyword",
            Self::Long => "long",
            Self::Double => "double",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Ip => "ip",
            Self::Version => "version",
            Self::Dynamic => "dynamic",
        }
    }

    /// Whether values of this type are text to the string operators (`:`, `like`, `regex`, string functions).
    pub fn is_string(self) -> bool {
        matches!(self, Self::Keyword | Self::Version | Self::Dynamic)
    }
}
