//! Binary XML definitions compiled to a flat list of steps.

use bumpalo::Bump;
use bumpalo::collections::Vec as List;

use super::chunk::RecordProblem;
use super::value::{Value, kind, utf16_text};
use crate::winlog::names::Name;

/// How deep elements may nest.
pub const MAX_DEPTH: usize = 64;

/// How deep binary XML values may hold binary XML values.
pub const MAX_NESTED_STREAMS: usize = 8;

/// Fields that one event may carry in its event data or user data.
pub const MAX_FIELDS: usize = 4096;

/// What decoding one record may cost, in steps and bytes of text. A record is at most 64 KiB, but a hostile template
/// can repeat its values without end.
pub const MAX_RECORD_WORK: usize = 2 << 20;

/// Elements with a meaning of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    Event,
    System,
    EventData,
    UserData,
    RenderingInfo,
    Provider,
    EventId,
    Version,
    Level,
    Task,
    Opcode,
    Keywords,
    Keyword,
    TimeCreated,
    EventRecordId,
    Correlation,
    Execution,
    Channel,
    Computer,
    Security,
    Message,
    Other,
}

impl Element {
    fn of(name: &str) -> Self {
        match name {
            "Event" => Self::Event,
            "System" => Self::System,
            "EventData" => Self::EventData,
            "UserData" => Self::UserData,
            "RenderingInfo" => Self::RenderingInfo,
            "Provider" => Self::Provider,
            "EventID" => Self::EventId,
            "Version" => Self::Version,
            "Level" => Self::Level,
            "Task" => Self::Task,
            "Opcode" => Self::Opcode,
            "Keywords" => Self::Keywords,
            "Keyword" => Self::Keyword,
            "TimeCreated" => Self::TimeCreated,
            "EventRecordID" => Self::EventRecordId,
            "Correlation" => Self::Correlation,
            "Execution" => Self::Execution,
            "Channel" => Self::Channel,
            "Computer" => Self::Computer,
            "Security" => Self::Security,
            "Message" => Self::Message,
            _ => Self::Other,
        }
    }
}

/// Attributes with a meaning of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    Name,
    Guid,
    SystemTime,
    ActivityId,
    RelatedActivityId,
    ProcessId,
    ThreadId,
    UserId,
    Other,
}

impl Attribute {
    fn of(name: &str) -> Self {
        match name {
            "Name" => Self::Name,
            "Guid" => Self::Guid,
            "SystemTime" => Self::SystemTime,
            "ActivityID" => Self::ActivityId,
            "RelatedActivityID" => Self::RelatedActivityId,
            "ProcessID" => Self::ProcessId,
            "ThreadID" => Self::ThreadId,
            "UserID" => Self::UserId,
            _ => Self::Other,
        }
    }
}

/// A literal `Name` attribute: the event data field that it names.
#[derive(Clone, Copy, Debug)]
pub struct FieldName<'b> {
    /// The path in the normalised event.
    pub path: &'b str,
    /// The name, if known.
    pub key: Name,
}

impl<'b> FieldName<'b> {
    /// The field of this name below `prefix`.
    pub fn new(prefix: &str, name: &str, bump: &'b Bump) -> Self {
        let mut path = bumpalo::collections::String::with_capacity_in(prefix.len() + name.len(), bump);
        path.push_str(prefix);
        path.push_str(name);
        Self { path: path.into_bump_str(), key: Name::of(name) }
    }
}

/// The shapes that most elements have, for which one step is enough.
#[derive(Clone, Copy, Debug)]
pub enum Short<'b> {
    /// Any other shape.
    None,
    /// `<x>value</x>`.
    Leaf(u16),
    /// `<x Name="field">value</x>`.
    Field(FieldName<'b>, u16),
}

/// One step of a compiled definition.
#[derive(Clone, Copy, Debug)]
pub enum Step<'b> {
    /// An element starts. It ends at the step `end`, is left out where the value `depends` is null, and comes once
    /// for each item where the value `repeats` is an array.
    Open { element: Element, name: &'b str, depends: Option<u16>, repeats: Option<u16>, short: Short<'b>, end: u32 },
    /// An attribute starts; its value are the steps up to the next one or to [`Step::Content`].
    Attribute(Attribute),
    /// The literal value of a `Name` attribute.
    Field(FieldName<'b>, &'b str),
    /// The start tag ends.
    Content,
    /// Literal text.
    Text(&'b str),
    /// The value of this number.
    Value(u16),
    /// The element ends.
    Close,
}

/// Reads little-endian values from the chunk, each read checked against its end.
#[derive(Clone, Copy)]
pub struct Cursor<'c> {
    /// The chunk.
    pub data: &'c [u8],
    /// Where to read next.
    pub at: usize,
}

impl<'c> Cursor<'c> {
    /// The next bytes.
    pub fn take(&mut self, length: usize) -> Result<&'c [u8], RecordProblem> {
        let end = self.at.checked_add(length).ok_or(RecordProblem::Truncated { at: self.at })?;
        let bytes = self.data.get(self.at..end).ok_or(RecordProblem::Truncated { at: self.at })?;
        self.at = end;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordProblem> {
        let at = self.at;
        self.take(N)?.try_into().map_err(|_| RecordProblem::Truncated { at })
    }

    /// The next byte.
    pub fn u8(&mut self) -> Result<u8, RecordProblem> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next 16 bits.
    pub fn u16(&mut self) -> Result<u16, RecordProblem> {
        self.array().map(u16::from_le_bytes)
    }

    /// The next 32 bits.
    pub fn u32(&mut self) -> Result<u32, RecordProblem> {
        self.array().map(u32::from_le_bytes)
    }

    fn counted_text<'b>(&mut self, bump: &'b Bump) -> Result<&'b str, RecordProblem> {
        let units = usize::from(self.u16()?);
        Ok(utf16_text(self.take(2 * units)?, bump))
    }

    /// A name by its offset; the name itself lies right here at its first use.
    fn name<'b>(&mut self, bump: &'b Bump) -> Result<&'b str, RecordProblem> {
        let offset = self.u32()? as usize;
        let mut there = Self { data: self.data, at: offset };
        there.take(6)?;
        let name = there.counted_text(bump)?;
        if offset == self.at {
            there.take(2)?;
            self.at = there.at;
        }
        Ok(name)
    }
}

/// Compiles elements up to the end of the stream.
pub struct Compiler<'c, 'b> {
    cursor: Cursor<'c>,
    /// Offset behind the stream.
    end: usize,
    bump: &'b Bump,
    /// Element starts carry a dependency number: true in template definitions only.
    dependencies: bool,
    steps: List<'b, Step<'b>>,
    /// Steps of the open elements.
    open: Vec<usize>,
    in_attribute: bool,
    is_name: bool,
}

impl<'c, 'b> Compiler<'c, 'b> {
    /// A compiler for the stream from `cursor` to the offset `end`.
    pub fn new(cursor: Cursor<'c>, end: usize, dependencies: bool, bump: &'b Bump) -> Self {
        let (open, steps) = (Vec::new(), List::with_capacity_in(64, bump));
        Self { cursor, end, bump, dependencies, steps, open, in_attribute: false, is_name: false }
    }

    /// Compiles the stream.
    pub fn run(mut self) -> Result<&'b [Step<'b>], RecordProblem> {
        while self.cursor.at < self.end {
            let at = self.cursor.at;
            let token = self.cursor.u8()?;
            match token & 0x3f {
                0x00 => break,
                0x01 => self.open_element(token & 0x40 != 0)?,
                0x02 => self.content(),
                0x03 => {
                    self.content();
                    self.close();
                }
                0x04 => self.close(),
                0x05 => self.literal()?,
                0x06 => self.attribute()?,
                0x07 => {
                    let text = self.cursor.counted_text(self.bump)?;
                    self.steps.push(Step::Text(text));
                }
                0x08 => self.character()?,
                0x09 => self.entity()?,
                0x0a => drop(self.cursor.name(self.bump)?),
                0x0b => drop(self.cursor.counted_text(self.bump)?),
                0x0d | 0x0e => self.value()?,
                0x0f => drop(self.cursor.take(3)?),
                _ => return Err(RecordProblem::Token { token, at }),
            }
            self.is_name &= matches!(token & 0x3f, 0x06);
        }
        while !self.open.is_empty() {
            self.close();
        }
        Ok(self.steps.into_bump_slice())
    }

    fn open_element(&mut self, has_attributes: bool) -> Result<(), RecordProblem> {
        if self.open.len() >= MAX_DEPTH {
            return Err(RecordProblem::TooDeep { limit: MAX_DEPTH });
        }
        let depends = if self.dependencies { Some(self.cursor.u16()?).filter(|id| *id != 0xffff) } else { None };
        self.cursor.u32()?;
        let name = self.cursor.name(self.bump)?;
        if has_attributes {
            self.cursor.u32()?;
        }
        self.open.push(self.steps.len());
        let (repeats, short) = (None, Short::None);
        self.steps.push(Step::Open { element: Element::of(name), name, depends, repeats, short, end: 0 });
        Ok(())
    }

    fn content(&mut self) {
        self.in_attribute = false;
        self.steps.push(Step::Content);
    }

    fn close(&mut self) {
        self.in_attribute = false;
        let Some(start) = self.open.pop() else { return };
        self.steps.push(Step::Close);
        let length = self.steps.len() as u32;
        let shape = match self.steps.get(start + 1..) {
            Some([Step::Content, Step::Value(id), Step::Close]) => Short::Leaf(*id),
            Some(
                [Step::Attribute(Attribute::Name), Step::Field(field, _), Step::Content, Step::Value(id), Step::Close],
            ) => Short::Field(*field, *id),
            _ => Short::None,
        };
        if let Some(Step::Open { end, short, .. }) = self.steps.get_mut(start) {
            *end = length;
            *short = shape;
        }
    }

    fn attribute(&mut self) -> Result<(), RecordProblem> {
        let attribute = Attribute::of(self.cursor.name(self.bump)?);
        self.in_attribute = true;
        self.is_name = attribute == Attribute::Name;
        self.steps.push(Step::Attribute(attribute));
        Ok(())
    }

    fn literal(&mut self) -> Result<(), RecordProblem> {
        let at = self.cursor.at;
        let kind = self.cursor.u8()?;
        if kind != kind::STRING {
            return Err(RecordProblem::LiteralType { kind, at });
        }
        let text = self.cursor.counted_text(self.bump)?;
        self.steps.push(match self.is_name {
            true => Step::Field(FieldName::new(super::EVENT_DATA, text, self.bump), text),
            false => Step::Text(text),
        });
        Ok(())
    }

    fn character(&mut self) -> Result<(), RecordProblem> {
        let unit = u32::from(self.cursor.u16()?);
        let character = char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER);
        let text = self.bump.alloc_str(character.encode_utf8(&mut [0; 4]));
        self.steps.push(Step::Text(text));
        Ok(())
    }

    fn entity(&mut self) -> Result<(), RecordProblem> {
        let text = match self.cursor.name(self.bump)? {
            "amp" => "&",
            "lt" => "<",
            "gt" => ">",
            "quot" => "\"",
            "apos" => "'",
            other => other,
        };
        self.steps.push(Step::Text(text));
        Ok(())
    }

    fn value(&mut self) -> Result<(), RecordProblem> {
        let id = self.cursor.u16()?;
        // The type that the template declares; the value's own type decides.
        self.cursor.u8()?;
        self.steps.push(Step::Value(id));
        if self.in_attribute {
            return Ok(());
        }
        let open = self.open.last().copied().and_then(|at| self.steps.get_mut(at));
        if let Some(Step::Open { repeats: repeats @ None, .. }) = open {
            *repeats = Some(id);
        }
        Ok(())
    }
}

/// A template instance: its definition's offset and its values.
pub struct Instance<'c, 'b> {
    /// Where the definition's body starts.
    pub body: usize,
    /// The definition's length.
    pub length: usize,
    /// The values.
    pub values: &'b [Value<'c>],
}

impl<'c, 'b> Instance<'c, 'b> {
    /// Reads an instance behind its token. `work` pays for the values.
    pub fn read(cursor: &mut Cursor<'c>, bump: &'b Bump, work: &mut usize) -> Result<Self, RecordProblem> {
        const DEFINITION_HEADER: usize = 24;
        cursor.take(5)?;
        let definition = cursor.u32()? as usize;
        let mut there = Cursor { data: cursor.data, at: definition };
        there.take(DEFINITION_HEADER - 4)?;
        let length = there.u32()? as usize;
        let body = there.at;
        if definition == cursor.at {
            there.take(length)?;
            cursor.at = there.at;
        }
        let count = cursor.u32()? as usize;
        let descriptors = cursor.take(count.saturating_mul(4))?;
        *work += count;
        let mut values = List::with_capacity_in(count, bump);
        for descriptor in descriptors.as_chunks::<4>().0 {
            let [low, high, kind, _] = *descriptor;
            let bytes = cursor.take(usize::from(u16::from_le_bytes([low, high])))?;
            values.push(Value { kind, bytes });
        }
        Ok(Self { body, length, values: values.into_bump_slice() })
    }
}
