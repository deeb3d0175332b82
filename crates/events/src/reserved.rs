//! The fields that the reader itself needs of every event.

use eqlipse_batch::{FieldId, Schema, SchemaBuilder};
use eqlipse_ecs::FieldType;

/// Field of the index, alias or data stream that an event belongs to; several values where there are several names.
pub const INDEX_FIELD: &str = "_index";

pub(crate) const TIME: &str = "@timestamp";
const SEQUENCE: &str = "event.sequence";
const DATA_STREAM: [&str; 3] = ["data_stream.type", "data_stream.dataset", "data_stream.namespace"];
const EVENT_ID: &str = "event.id";
const RECORD_ID: &str = "winlog.record_id";
const CHANNEL: &str = "winlog.channel";
const HOST_NAME: &str = "host.name";
const ALERT_ID: &str = "kibana.alert.uuid";

/// Adds the fields that [`read`](crate::read) needs whether or not a rule reads them: time, sequence number, index,
/// and what tells an event from its copies.
pub fn reserve(schema: &mut SchemaBuilder) {
    schema.add_typed(INDEX_FIELD, FieldType::Keyword);
    for (name, _) in ROLES {
        schema.add(name);
    }
}

const ROLES: [(&str, Role); 10] = [
    (TIME, Role::Time),
    (SEQUENCE, Role::Sequence),
    (DATA_STREAM[0], Role::DataStream(0)),
    (DATA_STREAM[1], Role::DataStream(1)),
    (DATA_STREAM[2], Role::DataStream(2)),
    (EVENT_ID, Role::EventId),
    (RECORD_ID, Role::RecordId),
    (CHANNEL, Role::Channel),
    (HOST_NAME, Role::HostName),
    (ALERT_ID, Role::AlertId),
];

/// What a field means to the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    None,
    Time,
    Sequence,
    /// Type, dataset, namespace.
    DataStream(usize),
    EventId,
    RecordId,
    Channel,
    HostName,
    AlertId,
}

/// Where a schema has the reserved fields.
#[derive(Clone, Debug)]
pub(crate) struct Reserved {
    pub(crate) index: FieldId,
    roles: Vec<Role>,
}

impl Reserved {
    /// Finds them; the name of the first one that is missing otherwise.
    pub(crate) fn find(schema: &Schema) -> Result<Self, &'static str> {
        let index = schema.lookup(INDEX_FIELD).ok_or(INDEX_FIELD)?;
        let mut roles = vec![Role::None; schema.fields().len()];
        for (name, role) in ROLES {
            roles[schema.lookup(name).ok_or(name)?.index()] = role;
        }
        Ok(Self { index, roles })
    }

    /// The role of each field.
    pub(crate) fn roles(&self) -> &[Role] {
        &self.roles
    }
}
