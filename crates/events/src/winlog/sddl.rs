//! Security descriptors and lists of accounts in words.

use crate::document::{Document, Value};

use super::lookups::{ACE_TYPES, DESCRIPTOR_RIGHTS, DOMAIN_ACCOUNTS, GENERIC_RIGHTS, KNOWN_ACCOUNTS};
use super::text::{flags, number};

/// Entries of one access list that are put into words.
const MAX_ENTRIES: usize = 64;

/// Writes the entries of the old and the new descriptor and the accounts of the list.
pub fn write<'a>(old: Option<&'a str>, new: Option<&'a str>, sids: Option<&'a str>, document: &mut Document<'a>) {
    for (descriptor, prefix) in [(old, "winlog.event_data.OldSd"), (new, "winlog.event_data.NewSd")] {
        if let Some(descriptor) = descriptor {
            write_descriptor(descriptor, prefix, document);
        }
    }
    if let Some(sids) = sids {
        let items = || sids.split_ascii_whitespace().take(MAX_ENTRIES);
        document.set("winlog.event_data.SidList", Value::strings(items()));
        let names = items().map(|sid| account(sid.trim_start_matches("%{").trim_end_matches('}')).unwrap_or("null"));
        document.set("winlog.event_data.SidListDesc", Value::strings(names));
    }
}

fn write_descriptor<'a>(descriptor: &'a str, prefix: &str, document: &mut Document<'a>) {
    let (head, system) = split_system(descriptor);
    let discretionary = head.find("D:").map(|at| &head[at + 2..]);
    for (list, name) in [(discretionary, "Dacl"), (system, "Sacl")] {
        let entries = list.into_iter().flat_map(|list| list.split('(').skip(1)).take(MAX_ENTRIES);
        for (at, entry) in entries.enumerate() {
            let entry = entry.split(')').next().unwrap_or_default();
            let (grantee, text) = describe(entry);
            document.set(format!("{prefix}{name}{at}"), text);
            if let Some(grantee @ ("Administrator" | "Guest" | "KRBTGT")) = grantee {
                document.append("related.user", grantee);
            }
        }
    }
}

/// Cuts a descriptor in front of its system list, which comes last.
fn split_system(descriptor: &str) -> (&str, Option<&str>) {
    let starts_list = |at: usize| at == 0 || descriptor.as_bytes()[at - 1] != b'(';
    match descriptor.match_indices("S:").map(|(at, _)| at).filter(|at| starts_list(*at)).last() {
        Some(at) => (&descriptor[..at], Some(&descriptor[at + 2..])),
        None => (descriptor, None),
    }
}

/// `type;flags;rights;object;inherited object;account` in words.
fn describe(entry: &str) -> (Option<&str>, String) {
    let parts: Vec<&str> = entry.split(';').collect();
    let part = |at: usize| parts.get(at).copied().unwrap_or_default();
    let grantee = account(part(5));
    let kind = find(ACE_TYPES, part(0)).unwrap_or("null");
    let rights = rights(part(2)).join(", ");
    (grantee, format!("{} :{kind} ([{rights}])", grantee.unwrap_or("null")))
}

fn rights(text: &str) -> Vec<&str> {
    if let Some(mask) = text.starts_with("0x").then(|| number(text)).flatten() {
        let names = flags(mask, GENERIC_RIGHTS);
        return if names.is_empty() { vec![text] } else { names };
    }
    let pairs = (0..text.len()).step_by(2).map(|at| text.get(at..text.len().min(at + 2)).unwrap_or_default());
    pairs.map(|pair| find(DESCRIPTOR_RIGHTS, pair).unwrap_or("null")).collect()
}

/// The name of an account by its SID or the two letters that stand for it; of an account of a domain the name if it is
/// one that every domain has.
fn account(sid: &str) -> Option<&str> {
    if let Some(name) = find(KNOWN_ACCOUNTS, sid) {
        return Some(name);
    }
    match sid.starts_with("S-1-5-21") {
        true => find(DOMAIN_ACCOUNTS, sid.rsplit('-').next()?),
        false => Some(sid),
    }
}

fn find(table: &'static [(&'static str, &'static str)], key: &str) -> Option<&'static str> {
    table.iter().find(|(known, _)| *known == key).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors() {
        let mut document = Document::new();
        let old = "O:BAG:SYD:PAI(A;;FA;;;SY)(A;;0x1200a9;;;S-1-5-21-1-2-3-500)S:ARAI(AU;SAFA;DCLC;;;WD)";
        write(Some(old), None, None, &mut document);
        let text = |path: &str| document.text(path).unwrap().to_owned();
        assert_eq!(text("winlog.event_data.OldSdDacl0"), "Local system :Access Allowed ([File All Access])");
        assert_eq!(text("winlog.event_data.OldSdDacl1"), "Administrator :Access Allowed ([Syncronize, Read Control])");
        assert_eq!(
            text("winlog.event_data.OldSdSacl0"),
            "Everyone :System Audit ([Delete All Child Objects, List Contents])"
        );
        assert_eq!(document.get("related.user"), Some(&Value::strings(["Administrator"])));
    }

    #[test]
    fn garbage_does_not_panic() {
        for text in ["", "D:(", "S:(((", "D:(;;ä;;;)", "D:(A;;0x;;;ü)S:", "(S:", "S:S:()"] {
            write(Some(text), Some(text), Some(text), &mut Document::new());
        }
    }
}
