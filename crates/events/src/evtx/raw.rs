//! The event as its record has it.

use crate::winlog::names::Name;

/// Prefix of the paths of [`RawEvent::event_data`].
pub const EVENT_DATA: &str = "winlog.event_data.";

/// Prefix of the paths of [`RawEvent::user_data`].
pub const USER_DATA: &str = "winlog.user_data.";

/// A named value of an event's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// The name, if it is one of those that the normalisers know.
    pub key: Name,
    /// The field that holds the value in the normalised event: [`EVENT_DATA`] or [`USER_DATA`] and the name.
    pub path: &'a str,
    /// The value as text; never empty.
    pub value: &'a str,
}

impl<'a> Pair<'a> {
    /// A pair whose path has this prefix in front of the name.
    pub fn new(path: &'a str, prefix: &str, value: &'a str) -> Self {
        let key = path.strip_prefix(prefix).map_or(Name::Unknown, Name::of);
        Self { key, path, value }
    }
}

/// A record's event. Text lives as long as the chunk's decoder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawEvent<'a> {
    /// `Provider/@Name`.
    pub provider: &'a str,
    /// `Provider/@Guid`, in lower case and braces.
    pub provider_guid: Option<&'a str>,
    /// `EventID`.
    pub event_id: u32,
    /// `Version`.
    pub version: u8,
    /// `Level`.
    pub level: u8,
    /// `Task`.
    pub task: u16,
    /// `Opcode`.
    pub opcode: Option<u8>,
    /// `Keywords`.
    pub keywords: u64,
    /// `TimeCreated`, in nanoseconds since the Unix epoch; the record header's time where the event has none.
    pub time_created: i64,
    /// `EventRecordID`; the record header's where the event has none.
    pub record_id: u64,
    /// `Correlation/@ActivityID`.
    pub activity_id: Option<&'a str>,
    /// `Correlation/@RelatedActivityID`.
    pub related_activity_id: Option<&'a str>,
    /// `Execution/@ProcessID`.
    pub process_id: u32,
    /// `Execution/@ThreadID`.
    pub thread_id: u32,
    /// `Channel`.
    pub channel: &'a str,
    /// `Computer`.
    pub computer: &'a str,
    /// `Security/@UserID`.
    pub user_sid: Option<&'a str>,
    /// `EventData`, in order; of two values with one name the first. Values without a name are called `param1`,
    /// `param2` and so on by their place, as Winlogbeat calls them.
    pub event_data: Vec<Pair<'a>>,
    /// Name of the element in `UserData`.
    pub user_data_name: Option<&'a str>,
    /// The members of the element in `UserData`.
    pub user_data: Vec<Pair<'a>>,
    /// `RenderingInfo`, which forwarded events carry.
    pub rendering: Option<Rendering<'a>>,
}

/// Texts that the source host rendered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rendering<'a> {
    /// The message.
    pub message: Option<&'a str>,
    /// The level's name.
    pub level: Option<&'a str>,
    /// The task's name.
    pub task: Option<&'a str>,
    /// The opcode's name.
    pub opcode: Option<&'a str>,
    /// The keywords' names.
    pub keywords: Vec<&'a str>,
}

impl<'a> RawEvent<'a> {
    /// The value of this name in the event data.
    pub fn data(&self, name: Name) -> Option<&'a str> {
        self.event_data.iter().find(|pair| pair.key == name).map(|pair| pair.value)
    }
}
