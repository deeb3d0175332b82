//! The order and addresses of MITRE ATT&CK.

use std::collections::BTreeMap;

use eqlipse_rules::Rule;

/// The tactics of Enterprise ATT&CK along the kill chain.
pub const TACTICS: [(&str, &str); 14] = [
    ("TA0043", "Reconnaissance"),
    ("TA0042", "Resource Development"),
    ("TA0001", "Initial Access"),
    ("TA0002", "Execution"),
    ("TA0003", "Persistence"),
    ("TA0004", "Privilege Escalation"),
    ("TA0005", "Defense Evasion"),
    ("TA0006", "Credential Access"),
    ("TA0007", "Discovery"),
    ("TA0008", "Lateral Movement"),
    ("TA0009", "Collection"),
    ("TA0011", "Command and Control"),
    ("TA0010", "Exfiltration"),
    ("TA0040", "Impact"),
];

/// Where the tactic stands in the kill chain; unknown ones come last.
pub fn rank(tactic: &str) -> usize {
    TACTICS.iter().position(|(id, _)| *id == tactic).unwrap_or(TACTICS.len())
}

/// The ids of a rule's tactics, techniques and sub-techniques, each once: tactics first.
pub fn ids(rule: &Rule) -> Vec<&str> {
    let mut ids: Vec<&str> = Vec::new();
    for id in rule.tactic_ids().chain(rule.technique_ids()) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}

/// The page about a tactic or technique, for ids of the usual shape only.
pub fn address(id: &str) -> Option<String> {
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if id.strip_prefix("TA").is_some_and(|number| digits(number, 4)) {
        return Some(format!("https://attack.mitre.org/tactics/{id}/"));
    }
    let number = id.strip_prefix('T')?;
    match number.split_once('.') {
        None if digits(number, 4) => Some(format!("https://attack.mitre.org/techniques/{id}/")),
        Some((number, sub)) if digits(number, 4) && digits(sub, 3) => {
            Some(format!("https://attack.mitre.org/techniques/T{number}/{sub}/"))
        }
        _ => None,
    }
}

/// One tactic's column of the matrix.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Column {
    /// The tactic's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Alerts of rules with this tactic.
    pub alerts: usize,
    /// Its techniques by id.
    pub techniques: BTreeMap<String, Cell>,
}

/// One technique of a tactic.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Its name.
    pub name: String,
    /// Alerts of rules with this technique.
    pub alerts: usize,
    /// Its sub-techniques by id.
    pub subs: BTreeMap<String, Cell>,
}

/// Counts alerts by tactic and technique; each item of `alerts` is the rule of one alert. Columns in kill-chain order.
pub fn matrix<'a>(alerts: impl Iterator<Item = &'a Rule>) -> Vec<Column> {
    let mut columns: BTreeMap<(usize, &str), Column> = BTreeMap::new();
    for rule in alerts {
        let mut counted = Vec::new();
        for threat in &rule.threat {
            let tactic = &threat.tactic;
            let column = columns.entry((rank(&tactic.id), &tactic.id)).or_default();
            column.alerts += usize::from(first_time(&mut counted, (&tactic.id, "", "")));
            if column.id.is_empty() {
                column.id.clone_from(&tactic.id);
                column.name.clone_from(&tactic.name);
            }
            for technique in &threat.technique {
                let cell = cell(&mut column.techniques, &technique.id, &technique.name);
                cell.alerts += usize::from(first_time(&mut counted, (&tactic.id, &technique.id, "")));
                for sub in &technique.subtechnique {
                    let sub_cell = self::cell(&mut cell.subs, &sub.id, &sub.name);
                    sub_cell.alerts += usize::from(first_time(&mut counted, (&tactic.id, &technique.id, &sub.id)));
                }
            }
        }
    }
    columns.into_values().collect()
}

fn cell<'a>(cells: &'a mut BTreeMap<String, Cell>, id: &str, name: &str) -> &'a mut Cell {
    let cell = cells.entry(id.to_owned()).or_default();
    if cell.name.is_empty() {
        name.clone_into(&mut cell.name);
    }
    cell
}

/// Rules may name one technique twice under a tactic: an alert counts once.
fn first_time<T: PartialEq>(counted: &mut Vec<T>, item: T) -> bool {
    let new = !counted.contains(&item);
    if new {
        counted.push(item);
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_well_formed_ids_only() {
        assert_eq!(address("TA0005").as_deref(), Some("https://attack.mitre.org/tactics/TA0005/"));
        assert_eq!(address("T1218.005").as_deref(), Some("https://attack.mitre.org/techniques/T1218/005/"));
        for bad in ["", "T", "T12", "T1218.5", "T1218/../..", "javascript:alert(1)", "TA0005\"", "T1218.00é"] {
            assert_eq!(address(bad), None, "{bad}");
        }
    }

    #[test]
    fn kill_chain_order() {
        assert!(rank("TA0011") < rank("TA0010"));
        assert_eq!(rank("TA9999"), TACTICS.len());
    }
}
