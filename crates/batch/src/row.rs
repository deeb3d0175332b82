/// Where an event came in: the source (its place in the sorted list of inputs) and its place in there. The last and
/// always decisive part of an event's order, the same whatever thread decoded it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Arrival {
    /// Index of the source.
    pub source: u32,
    /// Byte offset or record number within the source; grows in reading order.
    pub position: u64,
}

/// An event's place in time: timestamp, then tiebreaker (null last), then arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OrderKey {
    /// Nanoseconds since the Unix epoch, UTC; `None` where the event has no readable time (ordered last).
    pub time: Option<i64>,
    /// Record id of an event log, `event.sequence` of other events.
    pub tiebreaker: Option<i64>,
    /// Where it came in.
    pub arrival: Arrival,
}

impl OrderKey {
    fn rank(&self) -> (bool, Option<i64>, bool, Option<i64>, Arrival) {
        (self.time.is_none(), self.time, self.tiebreaker.is_none(), self.tiebreaker, self.arrival)
    }
}

impl PartialOrd for OrderKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OrderKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

/// What a decoder says of a row beside its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowMeta {
    /// The event's place in time.
    pub order: OrderKey,
    /// A hash over host, channel, record id, time and content for events that have such an identity, so that an
    /// event read twice (a backup, a shadow copy) is known; `None` for events without.
    pub identity: Option<u128>,
}

/// Gives back the documents of a run of rows as JSON, so that `_source` is only made for the rows that matched.
pub trait RowSource: Send {
    /// Appends the document of `row` to `out` in the shape of an Elasticsearch hit, `{"_index":…,"_id":…,"_source":{…}}`
    /// without line breaks; `_index` and `_id` are left out where the input has none.
    fn write_json(&self, row: u32, out: &mut Vec<u8>);

    /// Where the document lies on disk, if it can be read again from there.
    fn place(&self, row: u32) -> Option<DocumentPlace> {
        let _ = row;
        None
    }
}

/// Where a document lies in a file, so that it need not be kept until somebody asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentPlace {
    /// The file, as in [`Arrival::source`].
    pub source: u32,
    /// Where the document begins, or the chunk of the event log that holds it; the row group's number in a Parquet file.
    pub offset: u64,
    /// Length of the document or chunk in bytes; 0 in a Parquet file.
    pub length: u32,
    /// Which part of what lies there is the document.
    pub part: DocumentPart,
    /// Hash of the document's text, the record's identity, or a hash of the Parquet file's footer, to know it again.
    pub digest: u128,
}

/// What a document is of the bytes in its [place](DocumentPlace).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentPart {
    /// All of them.
    Whole,
    /// The record of this number in the chunk of an event log.
    Record(u32),
    /// The row of this number in the row group of a Parquet file.
    Row(u32),
}
