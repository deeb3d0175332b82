//! The Security channel.

use std::borrow::Cow;

use crate::document::{Document, Value};
use crate::evtx::{Pair, RawEvent};

use super::Name;
use super::data::{write_event_data, write_user_data};
use super::lookups::{
    ACCESS_MASK, AUDIT_SUBCATEGORIES, ENCRYPTION_TYPES, KERBEROS_STATUS, LOGON_STATUS, LOGON_TYPES, SERVICE_TYPES,
    TICKET_OPTIONS, TRUST_ATTRIBUTES, TRUST_DIRECTIONS, TRUST_TYPES, USER_ACCOUNT_CONTROL,
};
use super::messages::message;
use super::sddl;
use super::text::{MAX_COMMAND_LINE, PROCESS, address, file_name, flags, is_nothing, lookup, number, set_command_line};

/// What else is read from an event, as bits of [`Event::steps`].
mod step {
    /// The subject is the user.
    pub const SUBJECT: u16 = 1 << 0;
    /// The target is the user, or the user's target where there is one.
    pub const LOGON: u16 = 1 << 1;
    /// The target is a group, the member the user's target.
    pub const GROUP: u16 = 1 << 2;
    /// The target is the user's target.
    pub const TARGET: u16 = 1 << 3;
    /// The target is the user in effect.
    pub const EFFECTIVE: u16 = 1 << 4;
    /// The target is a computer.
    pub const COMPUTER: u16 = 1 << 5;
    /// Process and network fields move to their places.
    pub const MOVE: u16 = 1 << 6;
    /// The privileges are a list.
    pub const PRIVILEGES: u16 = 1 << 7;
    /// The logon id is the target's.
    pub const TARGET_LOGON_ID: u16 = 1 << 8;
    /// The subject belongs to the related users, whoever the user is.
    pub const RELATED_SUBJECT: u16 = 1 << 9;
    /// Security descriptors and lists of accounts are put into words.
    pub const DESCRIPTORS: u16 = 1 << 10;
    /// The file is one on a share.
    pub const SHARE: u16 = 1 << 11;
    /// A new process.
    pub const NEW_PROCESS: u16 = 1 << 12;
    /// A terminal session.
    pub const SESSION: u16 = 1 << 13;
    /// The subject lies in the user data.
    pub const USER_DATA: u16 = 1 << 14;
}
use step::*;

struct Event {
    id: u32,
    action: &'static str,
    category: &'static [&'static str],
    kind: &'static [&'static str],
    steps: u16,
}

const fn event(
    id: u32,
    action: &'static str,
    category: &'static [&'static str],
    kind: &'static [&'static str],
    steps: u16,
) -> Event {
    Event { id, action, category, kind, steps }
}

const IAM: &[&str] = &["iam"];
const CONFIGURATION: &[&str] = &["configuration"];
const IAM_CONFIGURATION: &[&str] = &["iam", "configuration"];
const AUTHENTICATION: &[&str] = &["authentication"];
const SESSION_CATEGORY: &[&str] = &["authentication", "session"];
const PROCESS_CATEGORY: &[&str] = &["process"];
const DRIVER: &[&str] = &["driver"];
const SHARE_CATEGORY: &[&str] = &["network", "file"];

const START: &[&str] = &["start"];
const END: &[&str] = &["end"];
const ADMIN: &[&str] = &["admin"];
const CHANGE: &[&str] = &["change"];
const CREATION: &[&str] = &["creation"];
const DELETION: &[&str] = &["deletion"];
const ACCESS: &[&str] = &["access"];
const ADMIN_CHANGE: &[&str] = &["admin", "change"];
const ADMIN_CREATION: &[&str] = &["admin", "creation"];
const ADMIN_DELETION: &[&str] = &["admin", "deletion"];
const CHANGE_ADMIN: &[&str] = &["change", "admin"];
const CREATION_ADMIN: &[&str] = &["creation", "admin"];
const DELETION_ADMIN: &[&str] = &["deletion", "admin"];
const USER_CHANGE: &[&str] = &["user", "change"];
const USER_CREATION: &[&str] = &["user", "creation"];
const USER_DELETION: &[&str] = &["user", "deletion"];
const USER_INFO: &[&str] = &["user", "info"];
const GROUP_CHANGE: &[&str] = &["group", "change"];
const GROUP_CREATION: &[&str] = &["group", "creation"];
const GROUP_DELETION: &[&str] = &["group", "deletion"];
const INFO_ACCESS: &[&str] = &["info", "access"];

const GROUPS: u16 = SUBJECT | GROUP | MOVE;
const USERS: u16 = SUBJECT | TARGET | MOVE;
const COMPUTERS: u16 = SUBJECT | COMPUTER | MOVE | PRIVILEGES;
const VAULT: u16 = SUBJECT | RELATED_SUBJECT;

/// The events, by id.
#[rustfmt::skip]
const EVENTS: &[Event] = &[
    event(1100, "logging-service-shutdown", PROCESS_CATEGORY, END, MOVE),
    event(1102, "audit-log-cleared", IAM, ADMIN_CHANGE, MOVE | USER_DATA),
    event(1104, "logging-full", IAM, ADMIN, MOVE),
    event(1105, "auditlog-archieved", IAM, ADMIN, MOVE),
    event(1108, "logging-processing-error", IAM, ADMIN, MOVE),
    event(4610, "authentication-package-loaded", CONFIGURATION, ACCESS, 0),
    event(4611, "trusted-logon-process-registered", CONFIGURATION, CHANGE, 0),
    event(4614, "notification-package-loaded", CONFIGURATION, ACCESS, 0),
    event(4616, "system-time-changed", CONFIGURATION, CHANGE, 0),
    event(4622, "security-package-loaded", CONFIGURATION, ACCESS, 0),
    event(4624, "logged-in", AUTHENTICATION, START, LOGON | MOVE | TARGET_LOGON_ID | RELATED_SUBJECT),
    event(4625, "logon-failed", AUTHENTICATION, START, LOGON | MOVE),
    event(4634, "logged-out", AUTHENTICATION, END, LOGON | TARGET_LOGON_ID),
    event(4647, "logged-out", AUTHENTICATION, END, LOGON | TARGET_LOGON_ID),
    event(4648, "logged-in-explicit", AUTHENTICATION, START, SUBJECT | EFFECTIVE | MOVE | RELATED_SUBJECT),
    event(4657, "registry-value-modified", &["registry", "configuration"], CHANGE, SUBJECT),
    event(4662, "object-operation-performed", IAM_CONFIGURATION, ADMIN_CHANGE, SUBJECT),
    event(4670, "permissions-changed", IAM_CONFIGURATION, ADMIN_CHANGE, SUBJECT | TARGET | MOVE | DESCRIPTORS),
    event(4672, "logged-in-special", IAM, ADMIN, SUBJECT | PRIVILEGES),
    event(4673, "privileged-service-called", IAM, ADMIN, SUBJECT | MOVE | PRIVILEGES),
    event(4674, "privileged-operation", IAM, ADMIN, SUBJECT | MOVE | PRIVILEGES),
    event(4688, "created-process", PROCESS_CATEGORY, START, SUBJECT | EFFECTIVE | NEW_PROCESS),
    event(4689, "exited-process", PROCESS_CATEGORY, END, SUBJECT | MOVE),
    event(4697, "service-installed", IAM_CONFIGURATION, ADMIN_CHANGE, SUBJECT | MOVE),
    event(4698, "scheduled-task-created", IAM_CONFIGURATION, CREATION_ADMIN, SUBJECT),
    event(4699, "scheduled-task-deleted", IAM_CONFIGURATION, DELETION_ADMIN, SUBJECT),
    event(4700, "scheduled-task-enabled", IAM_CONFIGURATION, CHANGE_ADMIN, SUBJECT),
    event(4701, "scheduled-task-disabled", IAM_CONFIGURATION, CHANGE_ADMIN, SUBJECT),
    event(4702, "scheduled-task-updated", IAM_CONFIGURATION, CHANGE_ADMIN, SUBJECT),
    event(4706, "domain-trust-added", CONFIGURATION, CREATION, SUBJECT),
    event(4707, "domain-trust-removed", CONFIGURATION, DELETION, SUBJECT),
    event(4713, "kerberos-policy-changed", CONFIGURATION, CHANGE, SUBJECT),
    event(4714, "encrypted-data-recovery-policy-changed", CONFIGURATION, CHANGE, 0),
    event(4715, "object-audit-policy-changed", CONFIGURATION, CHANGE, 0),
    event(4716, "trusted-domain-information-changed", CONFIGURATION, CHANGE, SUBJECT),
    event(4717, "system-security-access-granted", IAM_CONFIGURATION, ADMIN_CHANGE, SUBJECT),
    event(4718, "system-security-access-removed", IAM_CONFIGURATION, ADMIN_DELETION, SUBJECT),
    event(4719, "changed-audit-config", IAM_CONFIGURATION, ADMIN_CHANGE, SUBJECT | MOVE),
    event(4720, "added-user-account", IAM, USER_CREATION, USERS),
    event(4722, "enabled-user-account", IAM, USER_CHANGE, USERS),
    event(4723, "changed-password", IAM, USER_CHANGE, USERS),
    event(4724, "reset-password", IAM, USER_CHANGE, USERS),
    event(4725, "disabled-user-account", IAM, USER_DELETION, USERS),
    event(4726, "deleted-user-account", IAM, USER_DELETION, USERS),
    event(4727, "added-group-account", IAM, GROUP_CREATION, GROUPS),
    event(4728, "added-member-to-group", IAM, GROUP_CHANGE, GROUPS),
    event(4729, "removed-member-from-group", IAM, GROUP_CHANGE, GROUPS),
    event(4730, "deleted-group-account", IAM, GROUP_DELETION, GROUPS),
    event(4731, "added-group-account", IAM, GROUP_CREATION, GROUPS),
    event(4732, "added-member-to-group", IAM, GROUP_CHANGE, GROUPS),
    event(4733, "removed-member-from-group", IAM, GROUP_CHANGE, GROUPS),
    event(4734, "deleted-group-account", IAM, GROUP_DELETION, GROUPS),
    event(4735, "modified-group-account", IAM, GROUP_CHANGE, GROUPS),
    event(4737, "modified-group-account", IAM, GROUP_CHANGE, GROUPS),
    event(4738, "modified-user-account", IAM, USER_CHANGE, USERS),
    event(4739, "domain-policy-changed", CONFIGURATION, CHANGE, SUBJECT),
    event(4740, "locked-out-user-account", IAM, USER_CHANGE, USERS),
    event(4741, "added-computer-account", IAM, CREATION_ADMIN, COMPUTERS),
    event(4742, "changed-computer-account", IAM, CHANGE_ADMIN, COMPUTERS),
    event(4743, "deleted-computer-account", IAM, DELETION_ADMIN, COMPUTERS),
    event(4744, "added-distribution-group-account", IAM, GROUP_CREATION, GROUPS),
    event(4745, "changed-distribution-group-account", IAM, GROUP_CHANGE, GROUPS),
    event(4746, "added-member-to-distribution-group", IAM, GROUP_CHANGE, GROUPS),
    event(4747, "removed-member-from-distribution-group", IAM, GROUP_CHANGE, GROUPS),
    event(4748, "deleted-distribution-group-account", IAM, GROUP_DELETION, GROUPS),
    event(4749, "added-distribution-group-account", IAM, GROUP_CREATION, GROUPS),
    event(4750, "changed-distribution-group-account", IAM, GROUP_CHANGE, GROUPS),
    event(4751, "added-member-to-distribution-group", IAM, GROUP_CHANGE, GROUPS),
    event(4752, "removed-member-from-distribution-group", IAM, GROUP_CHANGE, GROUPS),
    event(4753, "deleted-distribution-group-account", IAM, GROUP_DELETION, GROUPS),
    event(4754, "added-group-account", IAM, GROUP_CREATION, GROUPS),
    event(4755, "modified-group-account", IAM, GROUP_CHANGE, GROUPS),
    event(4756, "added-member-to-group", IAM, GROUP_CHANGE, GROUPS),
    event(4757, "removed-member-from-group", IAM, GROUP_CHANGE, GROUPS),
    event(4758, "deleted-group-account", IAM, GROUP_DELETION, GROUPS),
    event(4759, "added-distribution-group-account", IAM, GROUP_CREATION, GROUPS),
    event(4760, "changed-distribution-group-account", IAM, GROUP_CHANGE, GROUPS),
    event(4761, "added-member-to-distribution-group", IAM, GROUP_CHANGE, GROUPS),
    event(4762, "removed-member-from-distribution-group", IAM, GROUP_CHANGE, GROUPS),
    event(4763, "deleted-distribution-group-account", IAM, GROUP_DELETION, GROUPS),
    event(4764, "type-changed-group-account", IAM, GROUP_CHANGE, GROUPS),
    event(4767, "unlocked-user-account", IAM, USER_CHANGE, USERS),
    event(4768, "kerberos-authentication-ticket-requested", AUTHENTICATION, START, LOGON | MOVE),
    event(4769, "kerberos-service-ticket-requested", AUTHENTICATION, START, LOGON | MOVE),
    event(4770, "kerberos-service-ticket-renewed", AUTHENTICATION, START, LOGON | MOVE),
    event(4771, "kerberos-preauth-failed", AUTHENTICATION, START, LOGON | MOVE),
    event(4776, "credential-validated", AUTHENTICATION, START, LOGON),
    event(4778, "session-reconnected", SESSION_CATEGORY, START, SESSION),
    event(4779, "session-disconnected", SESSION_CATEGORY, END, SESSION),
    event(4781, "renamed-user-account", IAM, USER_CHANGE, SUBJECT),
    event(4797, "query-existence-of-blank-password", IAM, USER_INFO, SUBJECT | TARGET | RELATED_SUBJECT),
    event(4798, "group-membership-enumerated", IAM, USER_INFO, USERS),
    event(4799, "user-member-enumerated", IAM, &["group", "info"], GROUPS),
    event(4817, "object-audit-changed", IAM_CONFIGURATION, ADMIN_CHANGE, SUBJECT | TARGET | MOVE | DESCRIPTORS),
    event(4902, "user-audit-policy-created", IAM_CONFIGURATION, ADMIN_CREATION, 0),
    event(4904, "security-event-source-added", IAM_CONFIGURATION, ADMIN_CHANGE, SUBJECT | MOVE),
    event(4905, "security-event-source-removed", IAM_CONFIGURATION, ADMIN_DELETION, SUBJECT | MOVE),
    event(4906, "crash-on-audit-changed", IAM_CONFIGURATION, ADMIN_CHANGE, 0),
    event(4907, "audit-setting-changed", IAM_CONFIGURATION, ADMIN_CHANGE, SUBJECT | TARGET | MOVE | DESCRIPTORS),
    event(4908, "special-group-table-changed", IAM_CONFIGURATION, ADMIN_CHANGE, DESCRIPTORS),
    event(4912, "per-user-audit-policy-changed", IAM_CONFIGURATION, ADMIN_CHANGE, SUBJECT | MOVE),
    event(4950, "windows-firewall-setting-changed", CONFIGURATION, CHANGE, 0),
    event(4954, "windows-firewall-group-policy-changed", CONFIGURATION, CHANGE, 0),
    event(4964, "logged-in-special", IAM, &["admin", "group"], LOGON),
    event(5024, "windows-firewall-service-started", PROCESS_CATEGORY, START, 0),
    event(5025, "windows-firewall-service-stopped", PROCESS_CATEGORY, END, 0),
    event(5033, "windows-firewall-driver-started", DRIVER, START, 0),
    event(5034, "windows-firewall-driver-stopped", DRIVER, END, 0),
    event(5037, "windows-firewall-driver-error", DRIVER, END, 0),
    event(5136, "directory-service-object-modified", IAM_CONFIGURATION, ADMIN_CHANGE, SUBJECT),
    event(5140, "network-share-object-accessed", SHARE_CATEGORY, INFO_ACCESS, SUBJECT | MOVE | SHARE),
    event(5145, "network-share-object-access-checked", SHARE_CATEGORY, INFO_ACCESS, SUBJECT | MOVE | SHARE),
    event(5379, "credential-manager-credentials-were-read", IAM, USER_INFO, VAULT),
    event(5380, "vault-credential-find", IAM, USER_INFO, VAULT),
    event(5381, "vault-credentials-were-read", IAM, USER_INFO, VAULT),
    event(5382, "vault-credentials-were-read", IAM, USER_INFO, VAULT),
];

fn find(id: u32) -> Option<&'static Event> {
    EVENTS.binary_search_by_key(&id, |event| event.id).ok().map(|at| &EVENTS[at])
}

/// The values of an event that say something.
#[derive(Clone, Copy)]
struct Data<'r, 'a>(&'r RawEvent<'a>);

impl<'a> Data<'_, 'a> {
    fn get(self, name: Name) -> Option<&'a str> {
        self.0.data(name).filter(|value| !is_nothing(value))
    }
}

/// Writes the fields.
pub fn write<'a>(raw: &RawEvent<'a>, document: &mut Document<'a>) {
    let event = find(raw.event_id);
    let steps = event.map_or(0, |event| event.steps);
    if let Some(event) = event {
        document.set("event.action", event.action);
        document.push("event.category", Value::strings(event.category.iter().copied()));
        document.push("event.type", Value::strings(event.kind.iter().copied()));
    }
    write_event_data(raw, document, |document, pair| take(raw.event_id, steps, document, pair));
    write_user_data(raw, document);
    let data = Data(raw);
    write_descriptions(raw.event_id, data, document);
    write_users(steps, raw, document);
    write_logon_id(steps, raw, document);
    write_process(steps, data, document);
    if steps & SHARE != 0 {
        write_share(data, document);
    }
    if steps & DESCRIPTORS != 0 {
        sddl::write(data.get(Name::OldSd), data.get(Name::NewSd), data.get(Name::SidList), document);
    }
}

/// Moves a field of the event data to its place. Says whether it is out of the event data then.
fn take<'a>(id: u32, steps: u16, document: &mut Document<'a>, pair: &Pair<'a>) -> bool {
    let value = pair.value;
    let moves = steps & MOVE != 0;
    let new_process = steps & NEW_PROCESS != 0;
    match pair.key {
        Name::ProcessId if moves => set_number(document, "process.pid", value),
        Name::ProcessName if moves => set(document, "process.executable", value),
        Name::IpAddress if moves => set_address(document, value),
        Name::IpPort if moves => set_number(document, "source.port", value),
        Name::WorkstationName if moves => set(document, "source.domain", value),
        Name::NewProcessId if new_process => set_number(document, "process.pid", value),
        Name::NewProcessName if new_process => set(document, "process.executable", value),
        Name::ParentProcessName if new_process => set(document, "process.parent.executable", value),
        Name::PrivilegeList if steps & PRIVILEGES != 0 => {
            document.push(pair.path, Value::strings(value.split_ascii_whitespace()));
            true
        }
        Name::UserAccountControl if value.contains("%%") => {
            document.push(pair.path, Value::strings(codes(value)));
            true
        }
        Name::AccessList => {
            document.push(pair.path, Value::strings(codes(value)));
            true
        }
        Name::AccessMask => {
            write_access_mask(value, document);
            true
        }
        Name::SidList if steps & DESCRIPTORS != 0 => true,
        // What Windows calls the console.
        Name::ClientAddress if matches!(id, 4778 | 4779) && value == "LOCAL" => {
            document.push(pair.path, "127.0.0.1");
            true
        }
        _ => false,
    }
}

fn set<'a>(document: &mut Document<'a>, path: &'static str, value: &'a str) -> bool {
    document.set(path, value);
    true
}

fn set_number(document: &mut Document<'_>, path: &'static str, value: &str) -> bool {
    number(value).map(|number| document.set(path, number)).is_some()
}

/// An address that is none stays in the event data.
fn set_address<'a>(document: &mut Document<'a>, value: &'a str) -> bool {
    let Some(address) = address(value) else { return false };
    document.append("related.ip", address.clone());
    document.set("source.ip", address);
    true
}

/// The numbers of message codes: `%%1537 %%1538`.
fn codes(value: &str) -> impl Iterator<Item = &str> {
    value.split_ascii_whitespace().map(|code| code.trim_start_matches("%%")).filter(|code| !code.is_empty())
}

fn message_or_code(code: &str) -> &str {
    code.parse().ok().and_then(message).unwrap_or(code)
}

fn write_access_mask<'a>(value: &'a str, document: &mut Document<'a>) {
    let mut names: Vec<Cow<'a, str>> = Vec::new();
    let mut mask = 0;
    for word in value.split_ascii_whitespace() {
        match word.strip_prefix("%%") {
            // A code stands for one right, whose bit the code does not tell.
            Some(code) => names.push(Cow::Borrowed(message_or_code(code))),
            None => {
                mask |= number(word).unwrap_or(0);
                names.push(Cow::Borrowed(word));
            }
        }
    }
    document.push("winlog.event_data.AccessMask", Value::strings(names));
    let rights = flags(mask, ACCESS_MASK);
    if !rights.is_empty() {
        document.push("winlog.event_data.AccessMaskDescription", Value::strings(rights));
    }
}

/// Puts codes into words.
fn write_descriptions<'a>(id: u32, data: Data<'_, 'a>, document: &mut Document<'a>) {
    write_accounts(data, document);
    write_kerberos(id, data, document);
    write_policies(data, document);
    if let Some(kind) = data.get(Name::LogonType).and_then(|kind| lookup(LOGON_TYPES, kind.parse().ok()?)) {
        document.set("winlog.logon.type", kind);
    }
    if let Some(reason) = data.get(Name::FailureReason) {
        document.set("winlog.logon.failure.reason", message_or_code(reason.trim_start_matches("%%")));
    }
    if matches!(id, 4625 | 4776) {
        write_failure(data, document);
    }
    if let Some(name) = data.get(Name::ServiceName) {
        document.set("service.name", name);
    }
    if let Some(kind) = data.get(Name::ServiceType).and_then(number).and_then(|kind| lookup(SERVICE_TYPES, kind)) {
        document.set("service.type", kind);
    }
}

fn write_failure<'a>(data: Data<'_, 'a>, document: &mut Document<'a>) {
    let text = |name| data.get(name).and_then(number).and_then(|status| lookup(LOGON_STATUS, status));
    for (name, path) in
        [(Name::Status, "winlog.logon.failure.status"), (Name::SubStatus, "winlog.logon.failure.sub_status")]
    {
        if let Some(status) = text(name) {
            document.set(path, status);
        }
    }
}

fn write_accounts<'a>(data: Data<'_, 'a>, document: &mut Document<'a>) {
    if let Some(value) = data.get(Name::NewUacValue).and_then(number) {
        let names = flags(value, USER_ACCOUNT_CONTROL);
        if !names.is_empty() {
            document.set("winlog.event_data.NewUACList", Value::strings(names));
        }
    }
    for (name, path, table) in [
        (Name::TdoType, "winlog.trustType", TRUST_TYPES),
        (Name::TdoDirection, "winlog.trustDirection", TRUST_DIRECTIONS),
        (Name::TdoAttributes, "winlog.trustAttribute", TRUST_ATTRIBUTES),
    ] {
        if let Some(text) = data.get(name).and_then(number).and_then(|value| lookup(table, value)) {
            document.set(path, text);
        }
    }
}

fn write_kerberos<'a>(id: u32, data: Data<'_, 'a>, document: &mut Document<'a>) {
    if let Some(options) = data.get(Name::TicketOptions).and_then(number) {
        let names = flags(options, TICKET_OPTIONS);
        if !names.is_empty() {
            document.set("winlog.event_data.TicketOptionsDescription", Value::strings(names));
        }
    }
    let kind = data.get(Name::TicketEncryptionType).and_then(number);
    if let Some(kind) = kind.and_then(|kind| lookup(ENCRYPTION_TYPES, kind)) {
        document.set("winlog.event_data.TicketEncryptionTypeDescription", kind);
    }
    if matches!(id, 4768..=4771) {
        let status = data.get(Name::Status).and_then(number);
        if let Some(status) = status.and_then(|status| lookup(KERBEROS_STATUS, status)) {
            document.set("winlog.event_data.StatusDescription", status);
        }
    }
}

fn write_policies<'a>(data: Data<'_, 'a>, document: &mut Document<'a>) {
    if let Some(changes) = data.get(Name::AuditPolicyChanges) {
        let texts = changes.split(',').map(|code| message_or_code(code.trim().trim_start_matches("%%")));
        document.set("winlog.event_data.AuditPolicyChangesDescription", Value::strings(texts));
    }
    if let Some((subcategory, category)) = data.get(Name::SubcategoryGuid).and_then(audit_subcategory) {
        document.set("winlog.event_data.Category", category);
        document.set("winlog.event_data.SubCategory", subcategory);
    }
    if let Some(list) = data.get(Name::AccessList) {
        document.set("winlog.event_data.AccessListDescription", Value::strings(codes(list).map(message_or_code)));
    }
    for (name, path) in [
        (Name::Direction, "winlog.event_data.DirectionDescription"),
        (Name::LayerName, "winlog.event_data.LayerNameDescription"),
    ] {
        let code = data.get(name).and_then(|code| code.trim_start_matches("%%").parse().ok());
        if let Some(text) = code.and_then(message) {
            document.set(path, text);
        }
    }
}

/// The audit subcategories differ in one byte of their GUID.
fn audit_subcategory(guid: &str) -> Option<(&'static str, &'static str)> {
    let digits = guid.trim_matches(['{', '}']);
    let head = digits.get(..6).filter(|head| head.eq_ignore_ascii_case("0CCE92"))?;
    let tail = digits.get(8..).filter(|tail| tail.eq_ignore_ascii_case("-69AE-11D9-BED3-505054503030"))?;
    debug_assert!(!head.is_empty() && !tail.is_empty());
    let number = u8::from_str_radix(digits.get(6..8)?, 16).ok()?;
    let at = AUDIT_SUBCATEGORIES.binary_search_by_key(&number, |(number, ..)| *number).ok()?;
    let (_, subcategory, category) = AUDIT_SUBCATEGORIES[at];
    Some((subcategory, category))
}

/// The name in front of the `@` of `name@domain`.
fn bare(name: &str) -> &str {
    name.split('@').next().unwrap_or(name)
}

fn write_users<'a>(steps: u16, raw: &RawEvent<'a>, document: &mut Document<'a>) {
    let data = Data(raw);
    if steps & SESSION != 0 {
        write_session(data, document);
    }
    if steps & SUBJECT != 0 {
        write_account(subject(data), ["user.id", "user.name", "user.domain"], document);
    }
    if steps & USER_DATA != 0 {
        write_account(user_data_subject(raw), ["user.id", "user.name", "user.domain"], document);
    }
    if steps & LOGON != 0 {
        write_account(target(data), ["user.id", "user.name", "user.domain"], document);
    }
    if steps & TARGET != 0 {
        let target = Account { id: data.get(Name::TargetSid), ..target(data) };
        write_account(target, ["user.target.id", "user.target.name", "user.target.domain"], document);
    }
    if steps & EFFECTIVE != 0 {
        write_account(target(data), ["user.effective.id", "user.effective.name", "user.effective.domain"], document);
    }
    if steps & GROUP != 0 {
        write_group(data, document);
    }
    if steps & COMPUTER != 0 {
        let computer = target(data);
        set_all(
            [
                ("winlog.computerObject.id", data.get(Name::TargetSid)),
                ("winlog.computerObject.name", data.get(Name::TargetUserName)),
                ("winlog.computerObject.domain", computer.domain),
            ],
            document,
        );
    }
    if steps & RELATED_SUBJECT != 0 {
        relate(data.get(Name::SubjectUserName), document);
    }
    write_renamed(data, document);
}

/// An account that an event names.
struct Account<'a> {
    id: Option<&'a str>,
    name: Option<&'a str>,
    domain: Option<&'a str>,
}

fn subject<'a>(data: Data<'_, 'a>) -> Account<'a> {
    Account {
        id: data.get(Name::SubjectUserSid),
        name: data.get(Name::SubjectUserName),
        domain: data.get(Name::SubjectDomainName),
    }
}

fn target<'a>(data: Data<'_, 'a>) -> Account<'a> {
    Account {
        id: data.get(Name::TargetUserSid).or(data.get(Name::TargetSid)),
        name: data.get(Name::TargetUserName).map(bare),
        domain: data.get(Name::TargetDomainName),
    }
}

fn user_data_subject<'a>(raw: &RawEvent<'a>) -> Account<'a> {
    let [id, name, domain] =
        ["SubjectUserSid", "SubjectUserName", "SubjectDomainName"].map(|name| user_data(raw, name));
    Account { id, name, domain }
}

fn user_data<'a>(raw: &RawEvent<'a>, name: &str) -> Option<&'a str> {
    let pair = raw.user_data.iter().find(|pair| pair.path.strip_prefix(crate::evtx::USER_DATA) == Some(name));
    pair.map(|pair| pair.value).filter(|value| !is_nothing(value))
}

fn set_all<'a, const N: usize>(values: [(&'static str, Option<&'a str>); N], document: &mut Document<'a>) {
    for (path, value) in values {
        if let Some(value) = value {
            document.set(path, value);
        }
    }
}

fn relate<'a>(name: Option<&'a str>, document: &mut Document<'a>) {
    if let Some(name) = name {
        document.append("related.user", name);
    }
}

fn write_account<'a>(account: Account<'a>, [id, name, domain]: [&'static str; 3], document: &mut Document<'a>) {
    set_all([(id, account.id), (name, account.name), (domain, account.domain)], document);
    relate(account.name, document);
}

fn write_session<'a>(data: Data<'_, 'a>, document: &mut Document<'a>) {
    let account = Account { id: None, name: data.get(Name::AccountName), domain: data.get(Name::AccountDomain) };
    write_account(account, ["user.id", "user.name", "user.domain"], document);
    match data.get(Name::ClientAddress) {
        Some("LOCAL") => {
            document.set("source.ip", "127.0.0.1");
            document.append("related.ip", "127.0.0.1");
        }
        Some(text) => drop(set_address(document, text)),
        None => {}
    }
    set_all([("source.domain", data.get(Name::ClientName))], document);
}

fn write_group<'a>(data: Data<'_, 'a>, document: &mut Document<'a>) {
    let id = data.get(Name::TargetSid).or(data.get(Name::TargetUserSid));
    let (name, domain) = (data.get(Name::TargetUserName), data.get(Name::TargetDomainName));
    set_all([("group.id", id), ("group.name", name), ("group.domain", domain)], document);
    let Some(member) = data.get(Name::MemberName) else { return };
    let (member, member_domain) = distinguished_name(member);
    set_all(
        [
            ("user.target.name", Some(member)),
            ("user.target.domain", member_domain),
            ("user.target.group.id", id),
            ("user.target.group.name", name),
            ("user.target.group.domain", domain),
        ],
        document,
    );
    relate(Some(member), document);
}

/// Name and domain of `CN=name,CN=Users,DC=domain,DC=…`: the first and the fourth part, as Winlogbeat takes them.
fn distinguished_name(name: &str) -> (&str, Option<&str>) {
    let mut parts = Vec::with_capacity(4);
    let (mut start, bytes) = (0, name.as_bytes());
    for comma in memchr::memchr_iter(b',', bytes) {
        if comma == 0 || bytes[comma - 1] != b'\\' {
            parts.push(&name[start..comma]);
            start = comma + 1;
        }
    }
    parts.push(&name[start..]);
    let without = |part: &'static str| {
        move |text: &str| text.get(..3).filter(|head| head.eq_ignore_ascii_case(part)).map_or(0, str::len)
    };
    let common = without("CN=")(parts[0]);
    let domain = parts.get(3).map(|part| &part[without("DC=")(part)..]);
    (&parts[0][common..], domain)
}

fn write_renamed<'a>(data: Data<'_, 'a>, document: &mut Document<'a>) {
    let (new, old) = (data.get(Name::NewTargetUserName), data.get(Name::OldTargetUserName));
    set_all([("user.target.name", old), ("user.changes.name", new)], document);
    relate(new, document);
    relate(old, document);
}

fn write_logon_id<'a>(steps: u16, raw: &RawEvent<'a>, document: &mut Document<'a>) {
    let data = Data(raw);
    // A logon's own session is the target's; everything else happens in the subject's.
    let target = data.get(Name::TargetLogonId).filter(|_| steps & TARGET_LOGON_ID != 0);
    let session = data.get(Name::LogonID).filter(|_| steps & SESSION != 0);
    let subject = || match steps & USER_DATA {
        0 => data.get(Name::SubjectLogonId),
        _ => user_data(raw, "SubjectLogonId"),
    };
    if let Some(id) = target.or(session).or_else(subject) {
        document.set("winlog.logon.id", id);
    }
}

fn write_process<'a>(steps: u16, data: Data<'_, 'a>, document: &mut Document<'a>) {
    if let Some(path) = data.get(Name::ProcessName).filter(|_| steps & MOVE != 0) {
        document.set("process.name", file_name(path).unwrap_or(path));
    }
    if steps & NEW_PROCESS == 0 {
        return;
    }
    for (name, path) in [(Name::NewProcessName, "process.name"), (Name::ParentProcessName, "process.parent.name")] {
        if let Some(executable) = data.get(name) {
            document.set(path, file_name(executable).unwrap_or(executable));
        }
    }
    if let Some(pid) = data.get(Name::ProcessId).and_then(number) {
        document.set("process.parent.pid", pid);
    }
    if let Some(line) = data.get(Name::CommandLine) {
        set_command_line(document, PROCESS, line, split_words);
    }
}

/// Splits a command line at white space outside quotes, quotes kept, as Winlogbeat does for this event.
fn split_words(line: &str) -> Vec<Cow<'_, str>> {
    debug_assert!(line.len() <= MAX_COMMAND_LINE);
    let (mut words, mut start, mut quoted) = (Vec::new(), 0, false);
    for (at, character) in line.char_indices() {
        if character == '"' {
            quoted = !quoted;
        } else if character.is_whitespace() && !quoted {
            words.push(Cow::Borrowed(&line[start..at]));
            start = at + character.len_utf8();
        }
    }
    words.push(Cow::Borrowed(&line[start..]));
    words.retain(|word| !word.is_empty());
    words
}

fn write_share<'a>(data: Data<'_, 'a>, document: &mut Document<'a>) {
    let (name, directory) = (data.get(Name::RelativeTargetName), data.get(Name::ShareLocalPath));
    set_all([("file.name", name), ("file.directory", directory)], document);
    let Some(name) = name else { return };
    if let Some(directory) = directory {
        document.set("file.path", format!("{directory}\\{name}"));
    }
    if let Some(share) = data.get(Name::ShareName) {
        document.set("file.target_path", format!("{share}\\{name}"));
    }
    if let Some((_, extension)) = name.rsplit_once('.') {
        document.set("file.extension", extension);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evtx::EVENT_DATA;
    use crate::winlog::normalise;

    fn event<'a>(event_id: u32, data: &[(&'a str, &'a str)]) -> RawEvent<'a> {
        RawEvent {
            provider: "Microsoft-Windows-Security-Auditing",
            channel: "Security",
            computer: "host",
            event_id,
            event_data: data.iter().map(|(path, value)| Pair::new(path, EVENT_DATA, value)).collect(),
            ..RawEvent::default()
        }
    }

    #[test]
    fn events_are_sorted() {
        assert!(EVENTS.is_sorted_by(|left, right| left.id < right.id));
    }

    #[test]
    fn a_network_logon() {
        let raw = event(
            4624,
            &[
                ("winlog.event_data.SubjectUserName", "-"),
                ("winlog.event_data.SubjectLogonId", "0x0"),
                ("winlog.event_data.TargetUserSid", "S-1-5-21-1"),
                ("winlog.event_data.TargetUserName", "eve"),
                ("winlog.event_data.TargetDomainName", "LAB"),
                ("winlog.event_data.TargetLogonId", "0x1234"),
                ("winlog.event_data.LogonType", "3"),
                ("winlog.event_data.IpAddress", "::ffff:10.0.0.9"),
                ("winlog.event_data.IpPort", "50123"),
                ("winlog.event_data.WorkstationName", "WS"),
                ("winlog.event_data.ProcessName", "-"),
            ],
        );
        let document = normalise(&raw);
        assert_eq!(document.text("user.name"), Some("eve"));
        assert_eq!(document.text("user.id"), Some("S-1-5-21-1"));
        assert_eq!(document.text("winlog.logon.id"), Some("0x1234"));
        assert_eq!(document.text("winlog.logon.type"), Some("Network"));
        assert_eq!(document.text("source.ip"), Some("10.0.0.9"));
        assert_eq!(document.get("source.port"), Some(&Value::Int(50123)));
        assert_eq!(document.text("source.domain"), Some("WS"));
        assert!(!document.contains("process.executable") && !document.contains("winlog.event_data.SubjectUserName"));
    }

    #[test]
    fn a_failed_logon() {
        let raw = event(
            4625,
            &[
                ("winlog.event_data.FailureReason", "%%2313"),
                ("winlog.event_data.Status", "0xc000006d"),
                ("winlog.event_data.SubStatus", "0xC0000064"),
            ],
        );
        let document = normalise(&raw);
        assert_eq!(document.text("winlog.logon.failure.reason"), Some("Unknown user name or bad password."));
        assert!(document.text("winlog.logon.failure.status").unwrap().contains("bad username"));
        assert!(document.text("winlog.logon.failure.sub_status").unwrap().contains("misspelled or bad user"));
    }

    #[test]
    fn masks_and_lists() {
        let raw = event(
            5145,
            &[
                ("winlog.event_data.AccessMask", "0x1"),
                ("winlog.event_data.AccessList", "%%4416\n\t\t\t\t"),
                ("winlog.event_data.ShareName", r"\\*\C$"),
                ("winlog.event_data.ShareLocalPath", r"\??\C:"),
                ("winlog.event_data.RelativeTargetName", r"x\y.exe"),
            ],
        );
        let document = normalise(&raw);
        assert_eq!(document.get("winlog.event_data.AccessMask"), Some(&Value::strings(["0x1"])));
        assert_eq!(document.get("winlog.event_data.AccessMaskDescription"), Some(&Value::strings(["Create Child"])));
        assert_eq!(document.get("winlog.event_data.AccessList"), Some(&Value::strings(["4416"])));
        let rights = Value::strings(["ReadData (or ListDirectory)"]);
        assert_eq!(document.get("winlog.event_data.AccessListDescription"), Some(&rights));
        assert_eq!(document.text("file.target_path"), Some(r"\\*\C$\x\y.exe"));
        assert_eq!(document.text("file.extension"), Some("exe"));
    }

    #[test]
    fn distinguished_names() {
        assert_eq!(distinguished_name("CN=a b,CN=Users,DC=x,DC=local"), ("a b", Some("local")));
        assert_eq!(distinguished_name(r"cn=a\,b,OU=o"), (r"a\,b", None));
        assert_eq!(distinguished_name(""), ("", None));
        assert_eq!(distinguished_name("ä"), ("ä", None));
    }

    #[test]
    fn words_keep_their_quotes() {
        assert_eq!(split_words(r#""a b" c  d"#), [r#""a b""#, "c", "d"]);
        assert!(split_words("").is_empty());
    }
}
