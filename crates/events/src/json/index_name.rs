//! Which index, alias or data stream a document belongs to, as rules name it.

/// The name that index patterns are matched against: without the name of a remote cluster, without what searchable
/// snapshots put in front, and the data stream's name in place of one of its backing indices.
///
/// ```
/// use eqlipse_events::json::logical_index;
/// assert_eq!(logical_index("eu:partial-.ds-logs-system.security-default-2024.05.01-000003"), "logs-system.security-default");
/// assert_eq!(logical_index("winlogbeat-8.13.0"), "winlogbeat-8.13.0");
/// ```
pub fn logical_index(index: &str) -> &str {
    let index = index.rsplit_once(':').map_or(index, |(_, name)| name);
    let bare = ["partial-", "restored-"].into_iter().find_map(|prefix| index.strip_prefix(prefix)).unwrap_or(index);
    backing_index_stream(bare).unwrap_or(bare)
}

/// The data stream in `.ds-NAME-yyyy.MM.dd-NNNNNN`.
fn backing_index_stream(index: &str) -> Option<&str> {
    let (name, generation) = index.strip_prefix(".ds-")?.rsplit_once('-')?;
    let (name, date) = name.rsplit_once('-')?;
    let is_generation = generation.len() >= 6 && generation.bytes().all(|byte| byte.is_ascii_digit());
    let is_date = date.len() == 10
        && date
            .bytes()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { byte == b'.' } else { byte.is_ascii_digit() });
    (is_generation && is_date && !name.is_empty()).then_some(name)
}

/// Writes the name of the data stream with these three parts over `name`; a missing namespace is `default`, as in
/// Elastic Agent.
pub(super) fn data_stream_name(kind: &str, dataset: &str, namespace: &str, name: &mut String) {
    let namespace = if namespace.is_empty() { "default" } else { namespace };
    name.clear();
    for part in [kind, "-", dataset, "-", namespace] {
        name.push_str(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backing_indices_become_their_stream() {
        for (index, expected) in [
            ("logs-endpoint.events.process-default", "logs-endpoint.events.process-default"),
            (".ds-logs-x-default-2024.05.01-000003", "logs-x-default"),
            ("restored-.ds-logs-x-default-2024.05.01-1000003", "logs-x-default"),
            ("partial-winlogbeat-8", "winlogbeat-8"),
            ("a:b", "b"),
            (".ds-logs-x-default-000003", ".ds-logs-x-default-000003"),
            (".ds-2024.05.01-000003", ".ds-2024.05.01-000003"),
            (".ds--2024.05.01-000003", ".ds--2024.05.01-000003"),
            (".ds-x-2024-05-01-000003", ".ds-x-2024-05-01-000003"),
            (".ds-", ".ds-"),
            ("", ""),
            (":", ""),
        ] {
            assert_eq!(logical_index(index), expected, "{index}");
        }
    }
}
