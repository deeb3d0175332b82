//! Puts the elements of a record together to a [`RawEvent`].

use bumpalo::Bump;

use super::chunk::RecordProblem;
use super::raw::{EVENT_DATA, Pair, RawEvent, Rendering, USER_DATA};
use super::template::{Attribute, Element, FieldName, MAX_FIELDS};
use super::value::Value;
use crate::winlog::Name;
use crate::winlog::time::parse_time;

/// Paths of fields whose name says nothing.
const NO_NAME: &str = "winlog.event_data.";
const DEFAULT_NAME: &str = "winlog.event_data.Data";

/// Where in the event an element lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Event,
    System,
    Property(Element),
    EventData,
    UserData,
    UserElement,
    Rendering,
    Rendered(Element),
    /// A value of the event data or user data.
    Field,
    /// What the event does not keep.
    Outside,
}

/// Builds one event.
pub struct Builder<'b> {
    bump: &'b Bump,
    event: RawEvent<'b>,
    has_time: bool,
    has_record_id: bool,
    places: Vec<Place>,
    attribute: Option<Attribute>,
    /// The open field's name and text.
    field: Option<FieldName<'b>>,
    text: &'b str,
    /// Values seen in the open data section, with or without a name.
    count: usize,
    work: usize,
}

impl<'b> Builder<'b> {
    /// A builder whose texts go to `bump`.
    pub fn new(bump: &'b Bump) -> Self {
        Self {
            bump,
            event: RawEvent { event_data: Vec::with_capacity(24), ..RawEvent::default() },
            has_time: false,
            has_record_id: false,
            places: Vec::with_capacity(8),
            attribute: None,
            field: None,
            text: "",
            count: 0,
            work: 0,
        }
    }

    /// What building has cost so far, in steps and bytes.
    pub fn work(&self) -> usize {
        self.work
    }

    /// The event, if the record held one.
    pub fn finish(self) -> Result<RawEvent<'b>, RecordProblem> {
        let mut event = self.event;
        if event.provider.is_empty() && event.channel.is_empty() && event.computer.is_empty() {
            return Err(RecordProblem::NoEvent);
        }
        if !self.has_time {
            event.time_created = i64::MIN;
        }
        if !self.has_record_id {
            event.record_id = u64::MAX;
        }
        Ok(event)
    }

    fn place(&self) -> Option<Place> {
        self.places.last().copied()
    }

    /// An element starts.
    pub fn open(&mut self, element: Element, name: &'b str) {
        self.attribute = None;
        let place = match (self.place(), element) {
            (None, Element::Event) => Place::Event,
            (Some(Place::Event), Element::System) => Place::System,
            (Some(Place::Event), Element::EventData) => self.start_data(Place::EventData),
            (Some(Place::Event), Element::UserData) => self.start_data(Place::UserData),
            (Some(Place::Event), Element::RenderingInfo) => self.start_rendering(),
            (Some(Place::System), _) => Place::Property(element),
            (Some(Place::EventData), _) => self.start_field(EVENT_DATA, name),
            (Some(Place::UserData), _) => self.start_user_element(name),
            (Some(Place::UserElement), _) => self.start_field(USER_DATA, name),
            (Some(Place::Rendering), Element::Keywords) => Place::Rendering,
            (Some(Place::Rendering), _) => Place::Rendered(element),
            _ => Place::Outside,
        };
        self.places.push(place);
        if matches!(place, Place::Rendered(_) | Place::Property(_)) {
            self.text = "";
        }
    }

    fn start_data(&mut self, place: Place) -> Place {
        self.count = 0;
        place
    }

    fn start_rendering(&mut self) -> Place {
        self.event.rendering.get_or_insert_default();
        Place::Rendering
    }

    fn start_user_element(&mut self, name: &'b str) -> Place {
        match self.event.user_data_name {
            None => self.event.user_data_name = Some(name),
            // Only the first element counts.
            Some(_) => return Place::Outside,
        }
        Place::UserElement
    }

    fn start_field(&mut self, prefix: &str, name: &'b str) -> Place {
        self.count += 1;
        self.text = "";
        self.field = match name {
            "Data" | "" => None,
            // Until an attribute gives a better name.
            _ => Some(FieldName::new(prefix, name, self.bump)),
        };
        Place::Field
    }

    /// A named value of the event data in one go. Says whether it is one.
    pub fn short_field(&mut self, field: FieldName<'b>, value: Value<'_>) -> Result<bool, RecordProblem> {
        if self.place() != Some(Place::EventData) || matches!(field.path, NO_NAME | DEFAULT_NAME) {
            return Ok(false);
        }
        self.work += value.bytes.len();
        self.count += 1;
        let text = value.text(self.bump);
        if !text.is_empty() {
            self.add_pair(field, clean(text, self.bump), false)?;
        }
        Ok(true)
    }

    /// A value below `System` in one go. Says whether it is one.
    pub fn short_property(&mut self, element: Element, value: Value<'_>) -> bool {
        if self.place() != Some(Place::System) {
            return false;
        }
        self.work += value.bytes.len();
        match value.number() {
            Some(number) => self.property(element, number),
            None => {
                self.text = value.text(self.bump);
                self.close_property(element);
            }
        }
        true
    }

    /// An attribute starts.
    pub fn attribute(&mut self, attribute: Attribute) {
        self.attribute = Some(attribute);
    }

    /// The start tag ends.
    pub fn content(&mut self) {
        self.attribute = None;
    }

    /// A literal name.
    pub fn field(&mut self, field: FieldName<'b>, name: &'b str) {
        match (self.place(), self.attribute) {
            (Some(Place::Field), Some(Attribute::Name)) if !self.in_user_data() => self.name_field(Some(field), name),
            _ => self.text(name),
        }
    }

    fn in_user_data(&self) -> bool {
        self.places.contains(&Place::UserElement)
    }

    fn name_field(&mut self, field: Option<FieldName<'b>>, name: &str) {
        if matches!(name, "" | "Data") {
            return;
        }
        let prefix = if self.in_user_data() { USER_DATA } else { EVENT_DATA };
        self.field = Some(field.unwrap_or_else(|| FieldName::new(prefix, name, self.bump)));
    }

    /// Literal text.
    pub fn text(&mut self, text: &'b str) {
        self.work += text.len();
        match (self.place(), self.attribute) {
            (Some(Place::Field), Some(Attribute::Name)) => self.name_field(None, text),
            (_, Some(attribute)) => self.attribute_text(attribute, text),
            (Some(Place::Field | Place::Property(_) | Place::Rendered(_)), None) => self.add_text(text),
            _ => {}
        }
    }

    fn add_text(&mut self, text: &'b str) {
        if self.text.is_empty() {
            self.text = text;
        } else if !text.is_empty() {
            self.work += self.text.len();
            let mut joined = bumpalo::collections::String::with_capacity_in(self.text.len() + text.len(), self.bump);
            joined.push_str(self.text);
            joined.push_str(text);
            self.text = joined.into_bump_str();
        }
    }

    /// A typed value.
    pub fn value(&mut self, value: Value<'_>) {
        self.work += value.bytes.len();
        let number = match (self.place(), self.attribute) {
            (Some(Place::Outside) | None, _) => return,
            (Some(Place::Property(element)), None) => value.number().map(|number| self.property(element, number)),
            (Some(Place::Property(element)), Some(attribute)) => self.attribute_number(element, attribute, value),
            _ => None,
        };
        if number.is_none() {
            self.text(value.text(self.bump));
        }
    }

    fn property(&mut self, element: Element, number: u64) {
        let event = &mut self.event;
        match element {
            Element::EventId => event.event_id = number as u32,
            Element::Version => event.version = number as u8,
            Element::Level => event.level = number as u8,
            Element::Task => event.task = number as u16,
            Element::Opcode => event.opcode = Some(number as u8),
            Element::Keywords => event.keywords = number,
            Element::EventRecordId => {
                event.record_id = number;
                self.has_record_id = true;
            }
            _ => {}
        }
    }

    fn attribute_number(&mut self, element: Element, attribute: Attribute, value: Value<'_>) -> Option<()> {
        match (element, attribute) {
            (Element::TimeCreated, Attribute::SystemTime) => self.time(value.nanoseconds()?),
            (Element::Execution, Attribute::ProcessId) => self.event.process_id = value.number()? as u32,
            (Element::Execution, Attribute::ThreadId) => self.event.thread_id = value.number()? as u32,
            // Nothing that the event keeps: not worth its text.
            (_, Attribute::Other) => {}
            _ => return None,
        }
        Some(())
    }

    fn time(&mut self, time: i64) {
        self.event.time_created = time;
        self.has_time = true;
    }

    fn attribute_text(&mut self, attribute: Attribute, text: &'b str) {
        let Some(Place::Property(element)) = self.place() else { return };
        if text.is_empty() {
            return;
        }
        match (element, attribute) {
            (Element::Provider, Attribute::Name) => self.event.provider = text,
            (Element::Provider, Attribute::Guid) => self.event.provider_guid = Some(self.guid(text)),
            (Element::TimeCreated, Attribute::SystemTime) => {
                if let Some(time) = parse_time(text) {
                    self.time(time);
                }
            }
            (Element::Correlation, Attribute::ActivityId) => self.event.activity_id = Some(self.guid(text)),
            (Element::Correlation, Attribute::RelatedActivityId) => {
                self.event.related_activity_id = Some(self.guid(text));
            }
            (Element::Execution, Attribute::ProcessId) => self.event.process_id = parse_number(text) as u32,
            (Element::Execution, Attribute::ThreadId) => self.event.thread_id = parse_number(text) as u32,
            (Element::Security, Attribute::UserId) => self.event.user_sid = Some(text),
            _ => {}
        }
    }

    /// Identifiers come in either case, by the version of Windows.
    fn guid(&self, text: &'b str) -> &'b str {
        match text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => self.bump.alloc_str(&text.to_ascii_lowercase()),
            false => text,
        }
    }

    /// The element ends.
    pub fn close(&mut self) -> Result<(), RecordProblem> {
        self.attribute = None;
        match self.places.pop() {
            Some(Place::Property(element)) => self.close_property(element),
            Some(Place::Rendered(element)) => self.close_rendered(element),
            Some(Place::Field) => self.close_field()?,
            _ => {}
        }
        Ok(())
    }

    fn close_property(&mut self, element: Element) {
        let text = std::mem::take(&mut self.text);
        match element {
            _ if text.is_empty() => {}
            Element::Channel => self.event.channel = text,
            Element::Computer => self.event.computer = text,
            _ => self.property(element, parse_number(text)),
        }
    }

    fn close_rendered(&mut self, element: Element) {
        let text = clean(std::mem::take(&mut self.text), self.bump);
        let Some(rendering) = self.event.rendering.as_mut().filter(|_| !text.is_empty()) else { return };
        rendered(rendering, element, text);
    }

    fn close_field(&mut self) -> Result<(), RecordProblem> {
        let field = self.field.take();
        let text = std::mem::take(&mut self.text);
        if text.is_empty() {
            return Ok(());
        }
        let text = clean(text, self.bump);
        let in_user_data = self.in_user_data();
        let field = field.unwrap_or_else(|| positional(self.count, in_user_data, self.bump));
        self.add_pair(field, text, in_user_data)
    }

    /// Adds a pair if its name is new.
    fn add_pair(&mut self, field: FieldName<'b>, text: &'b str, in_user_data: bool) -> Result<(), RecordProblem> {
        let pairs = if in_user_data { &mut self.event.user_data } else { &mut self.event.event_data };
        // Looking for the name costs as much as there are names.
        self.work += pairs.len();
        if pairs.len() >= MAX_FIELDS {
            return Err(RecordProblem::TooManyFields { limit: MAX_FIELDS });
        }
        // Known names differ if their numbers do.
        let is_same =
            |pair: &Pair<'_>| pair.key == field.key && (field.key != Name::Unknown || pair.path == field.path);
        if !pairs.iter().any(is_same) {
            pairs.push(Pair { key: field.key, path: field.path, value: text });
        }
        Ok(())
    }
}

fn rendered<'b>(rendering: &mut Rendering<'b>, element: Element, text: &'b str) {
    match element {
        Element::Message => rendering.message = Some(text),
        Element::Level => rendering.level = Some(text),
        Element::Task => rendering.task = Some(text),
        Element::Opcode => rendering.opcode = Some(text),
        Element::Keyword if rendering.keywords.len() < 64 => rendering.keywords.push(text),
        _ => {}
    }
}

fn positional(count: usize, in_user_data: bool, bump: &Bump) -> FieldName<'_> {
    let prefix = if in_user_data { USER_DATA } else { EVENT_DATA };
    FieldName::new(prefix, &format!("param{count}"), bump)
}

fn parse_number(text: &str) -> u64 {
    let text = text.trim();
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.unwrap_or(0)
}

/// Line breaks as Winlogbeat gives them: bare line feeds, none at the end.
fn clean<'b>(text: &'b str, bump: &'b Bump) -> &'b str {
    let text = if memchr::memchr(b'\r', text.as_bytes()).is_some() && text.contains("\r\n") {
        bump.alloc_str(&text.replace("\r\n", "\n"))
    } else {
        text
    };
    text.trim_end_matches('\n')
}
