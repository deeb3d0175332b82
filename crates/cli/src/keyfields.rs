//! Which fields of an event a reader wants to see first.

use eqlipse_rules::Rule;

use crate::field::{Document, texts};

/// The fields, in the order in which they are shown.
const FIELDS: [&str; 92] = [
    "@timestamp",
    "event.category",
    "event.type",
    "event.action",
    "event.code",
    "event.outcome",
    "event.provider",
    "event.dataset",
    "host.name",
    "host.ip",
    "user.domain",
    "user.name",
    "user.id",
    "user.effective.name",
    "user.target.name",
    "group.name",
    "process.name",
    "process.executable",
    "process.command_line",
    "process.working_directory",
    "process.pid",
    "process.entity_id",
    "process.title",
    "process.pe.original_file_name",
    "process.hash.sha256",
    "process.hash.sha1",
    "process.hash.md5",
    "process.code_signature.subject_name",
    "process.code_signature.status",
    "process.code_signature.trusted",
    "process.parent.name",
    "process.parent.executable",
    "process.parent.command_line",
    "process.parent.pid",
    "process.parent.entity_id",
    "Target.process.name",
    "file.path",
    "file.name",
    "file.extension",
    "file.hash.sha256",
    "file.hash.md5",
    "file.Ext.original.path",
    "registry.path",
    "registry.value",
    "registry.data.type",
    "registry.data.strings",
    "dll.path",
    "dll.hash.sha256",
    "dll.code_signature.subject_name",
    "dll.code_signature.status",
    "dll.code_signature.trusted",
    "dns.question.name",
    "dns.question.type",
    "dns.resolved_ip",
    "dns.response_code",
    "source.ip",
    "source.port",
    "source.domain",
    "destination.ip",
    "destination.port",
    "destination.domain",
    "network.transport",
    "network.protocol",
    "network.direction",
    "url.full",
    "url.original",
    "http.request.method",
    "http.response.status_code",
    "user_agent.original",
    "service.name",
    "powershell.file.script_block_text",
    "powershell.command.name",
    "winlog.logon.type",
    "winlog.channel",
    "winlog.record_id",
    "winlog.event_data.LogonType",
    "winlog.event_data.SubjectUserName",
    "winlog.event_data.TargetUserName",
    "winlog.event_data.TargetImage",
    "winlog.event_data.SourceImage",
    "winlog.event_data.GrantedAccess",
    "winlog.event_data.CallTrace",
    "winlog.event_data.ServiceName",
    "winlog.event_data.ImagePath",
    "winlog.event_data.TaskName",
    "winlog.event_data.TaskContent",
    "winlog.event_data.ShareName",
    "winlog.event_data.RelativeTargetName",
    "winlog.event_data.PipeName",
    "winlog.event_data.Details",
    "winlog.event_data.QueryName",
    "message",
];

/// The fields of `event` that are worth showing, with their values joined: the usual ones, then those that the rule says
/// it reads. A message is shown only where little else is known.
pub fn key_fields(event: &Document, rule: &Rule, keys: &[(String, String)]) -> Vec<(String, String)> {
    let required = rule.required_fields.iter().map(|field| field.name.as_str());
    let highlighted = rule.investigation_fields.iter().flat_map(|fields| &fields.field_names).map(String::as_str);
    let joined = keys.iter().map(|(field, _)| field.as_str());
    let mut shown: Vec<(String, String)> = Vec::new();
    for name in FIELDS.into_iter().chain(highlighted).chain(joined).chain(required) {
        let superfluous = name == "message" && shown.len() > 12;
        if superfluous || shown.iter().any(|(known, _)| known == name) {
            continue;
        }
        let values = texts(event, name);
        if !values.is_empty() {
            shown.push((name.to_owned(), values.join(", ")));
        }
    }
    shown
}
