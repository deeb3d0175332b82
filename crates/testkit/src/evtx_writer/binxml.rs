//! The XML of an event as a template and the values of its slots.

use super::value::Value;
use super::{EvtxEvent, EvtxWriteError, MAX_VALUE_SIZE, Payload};

/// The BinXML type of an embedded fragment.
pub(super) const BINXML_TYPE: u8 = 0x21;
const EVENT_NAMESPACE: &str = "http://schemas.microsoft.com/win/2004/08/events/event";

/// An element of a template.
#[derive(Clone, Debug, Default)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) attributes: Vec<(String, Content)>,
    pub(super) children: Vec<Content>,
}

/// What an element or an attribute holds.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// An element; never in an attribute.
    Element(Element),
    /// Text that all events of this shape share.
    Text(String),
    /// The event's value of this number, of this type.
    Slot(u16, u8),
}

/// A template, and one event's values for it.
pub(super) struct Instance {
    pub(super) root: Element,
    pub(super) slots: Vec<(String, SlotValue)>,
}

/// What fills a slot.
pub(super) enum SlotValue {
    /// A value.
    Plain(Value),
    /// An embedded fragment.
    Fragment(Box<Instance>),
}

impl Element {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    fn attribute(mut self, name: &str, content: Content) -> Self {
        self.attributes.push((name.to_owned(), content));
        self
    }

    fn child(mut self, content: Content) -> Self {
        self.children.push(content);
        self
    }

    /// A text form that differs wherever two templates differ.
    fn signature(&self, out: &mut String) {
        out.push('<');
        quote(&self.name, out);
        for (name, content) in &self.attributes {
            out.push(' ');
            quote(name, out);
            out.push('=');
            content.signature(out);
        }
        out.push('>');
        self.children.iter().for_each(|child| child.signature(out));
        out.push_str("</>");
    }

    /// The template's GUID: a hash of its text form, so that the same shape has the same GUID everywhere.
    pub(super) fn template_guid(&self) -> [u8; 16] {
        let mut text = String::new();
        self.signature(&mut text);
        fnv1a_128(text.as_bytes()).to_le_bytes()
    }
}

impl Content {
    fn signature(&self, out: &mut String) {
        match self {
            Self::Element(element) => element.signature(out),
            Self::Text(text) => quote(text, out),
            Self::Slot(index, slot_type) => out.push_str(&format!("%{index}:{slot_type}")),
        }
    }
}

fn quote(text: &str, out: &mut String) {
    out.push_str(&format!("{text:?}"));
}

fn fnv1a_128(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, byte| {
        (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    })
}

/// Collects the slots of a template while it is built.
#[derive(Default)]
struct Slots(Vec<(String, SlotValue)>);

impl Slots {
    fn add(&mut self, name: &str, value: Value) -> Content {
        let slot_type = value.slot_type();
        self.push(name, slot_type, SlotValue::Plain(value))
    }

    /// A slot that keeps its type where the value is absent.
    fn add_optional(&mut self, name: &str, slot_type: u8, value: Option<Value>) -> Content {
        self.push(name, slot_type, SlotValue::Plain(value.unwrap_or(Value::Null)))
    }

    fn push(&mut self, name: &str, slot_type: u8, value: SlotValue) -> Content {
        self.0.push((name.to_owned(), value));
        Content::Slot((self.0.len() - 1) as u16, slot_type)
    }
}

/// The whole event: `<Event>` with `System`, and the payload as an embedded fragment.
pub(super) fn event_instance(event: &EvtxEvent) -> Result<Instance, EvtxWriteError> {
    let mut slots = Slots::default();
    let mut root = Element::new("Event")
        .attribute("xmlns", Content::Text(EVENT_NAMESPACE.to_owned()))
        .child(Content::Element(system(event, &mut slots)));
    let payload = match payload_instance(event)? {
        Some(instance) => SlotValue::Fragment(Box::new(instance)),
        None => SlotValue::Plain(Value::Null),
    };
    root.children.push(slots.push("the payload", BINXML_TYPE, payload));
    Ok(Instance { root, slots: slots.0 })
}

fn system(event: &EvtxEvent, slots: &mut Slots) -> Element {
    let guid = |guid| Value::Guid(guid);
    let provider = Element::new("Provider")
        .attribute("Name", slots.add("Provider", Value::text(&event.provider)))
        .attribute("Guid", slots.add_optional("Provider Guid", 0x0f, event.provider_guid.map(guid)));
    let event_id = Element::new("EventID")
        .attribute("Qualifiers", slots.add_optional("Qualifiers", 0x06, event.qualifiers.map(Value::UInt16)))
        .child(slots.add("EventID", Value::UInt16(event.event_id)));
    let time =
        Element::new("TimeCreated").attribute("SystemTime", slots.add("TimeCreated", Value::FileTime(event.time)));
    let correlation = Element::new("Correlation")
        .attribute("ActivityID", slots.add_optional("ActivityID", 0x0f, event.activity_id.map(guid)));
    let execution = Element::new("Execution")
        .attribute("ProcessID", slots.add("ProcessID", Value::UInt32(event.process_id)))
        .attribute("ThreadID", slots.add("ThreadID", Value::UInt32(event.thread_id)));
    let security = Element::new("Security")
        .attribute("UserID", slots.add_optional("UserID", 0x13, event.user_sid.clone().map(Value::Sid)));
    let mut leaf = |name: &str, value: Value| Element::new(name).child(slots.add(name, value));
    let children = [
        provider,
        event_id,
        leaf("Version", Value::UInt8(event.version)),
        leaf("Level", Value::UInt8(event.level)),
        leaf("Task", Value::UInt16(event.task)),
        leaf("Opcode", Value::UInt8(event.opcode)),
        leaf("Keywords", Value::Hex64(event.keywords)),
        time,
        leaf("EventRecordID", Value::UInt64(event.record_id)),
        correlation,
        execution,
        leaf("Channel", Value::text(&event.channel)),
        leaf("Computer", Value::text(&event.computer)),
        security,
    ];
    children.into_iter().fold(Element::new("System"), |system, child| system.child(Content::Element(child)))
}

fn payload_instance(event: &EvtxEvent) -> Result<Option<Instance>, EvtxWriteError> {
    let mut slots = Slots::default();
    let root = match &event.payload {
        Payload::None => return Ok(None),
        Payload::EventData(fields) => {
            fields.iter().try_for_each(|(name, _)| check_length(event.record_id, "a Data name", name))?;
            event_data(fields, &mut slots)
        }
        Payload::UserData { element, namespace, fields } => {
            check_length(event.record_id, "the namespace", namespace)?;
            let names = std::iter::once(element).chain(fields.iter().map(|(name, _)| name));
            names.into_iter().try_for_each(|name| check_element_name(event.record_id, name))?;
            let inner = Element::new(element).attribute("xmlns", Content::Text(namespace.clone()));
            let inner = fields.iter().fold(inner, |inner, (name, value)| {
                let slot = slots.add(name, value.clone());
                inner.child(Content::Element(Element::new(name).child(slot)))
            });
            Element::new("UserData").child(Content::Element(inner))
        }
    };
    Ok(Some(Instance { root, slots: slots.0 }))
}

fn event_data(fields: &[(String, Value)], slots: &mut Slots) -> Element {
    fields.iter().fold(Element::new("EventData"), |parent, (name, value)| {
        let data = Element::new("Data");
        let data = if name.is_empty() { data } else { data.attribute("Name", Content::Text(name.clone())) };
        parent.child(Content::Element(data.child(slots.add(name, value.clone()))))
    })
}

/// Element names here are ASCII: a letter or underscore, then letters, digits, `_`, `-` and `.`.
fn check_element_name(record_id: u64, name: &str) -> Result<(), EvtxWriteError> {
    check_length(record_id, "an element name", name)?;
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let rest = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if first && rest { Ok(()) } else { Err(EvtxWriteError::InvalidElementName { record_id, name: name.to_owned() }) }
}

fn check_length(record_id: u64, field: &str, text: &str) -> Result<(), EvtxWriteError> {
    let size = 2 * text.encode_utf16().count();
    if size > MAX_VALUE_SIZE {
        return Err(EvtxWriteError::ValueTooLong { record_id, field: field.to_owned(), size });
    }
    Ok(())
}
