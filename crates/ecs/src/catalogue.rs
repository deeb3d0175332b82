use std::collections::HashMap;
use std::sync::LazyLock;

use crate::FieldType;

/// `name<TAB>mapping type` per line, sorted by name; written by `cargo run -p xtask -- ecs-catalogue`.
const ECS: &str = include_str!("ecs.tsv");
/// The fields of Beats, Elastic Defend and the common integrations that ECS does not have; kept by hand.
const ADDITIONS: &str = include_str!("additions.tsv");

static CATALOGUE: LazyLock<HashMap<&'static str, FieldType>> = LazyLock::new(|| {
    [ECS, ADDITIONS]
        .into_iter()
        .flat_map(str::lines)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(|line| {
            let (name, mapping) = line.split_once('\t')?;
            Some((name, FieldType::from_mapping(mapping)?))
        })
        .collect()
});

/// The type of the field with this dotted name, or `None` where the catalogue does not know it.
pub fn field_type(name: &str) -> Option<FieldType> {
    CATALOGUE.get(name).copied()
}

/// All names in the catalogue, in no order.
pub fn names() -> impl Iterator<Item = &'static str> {
    CATALOGUE.keys().copied()
}

/// The catalogue name nearest to `name`, where one is near enough to be a likely misspelling.
pub fn suggest(name: &str) -> Option<&'static str> {
    let budget = 1 + name.len() / 8;
    names()
        .filter(|known| known.len().abs_diff(name.len()) <= budget)
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, _)| *distance <= budget)
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_ecs_and_additions() {
        assert_eq!(field_type("process.pid"), Some(FieldType::Long));
        assert_eq!(field_type("process.name"), Some(FieldType::Keyword));
        assert_eq!(field_type("source.ip"), Some(FieldType::Ip));
        assert_eq!(field_type("@timestamp"), Some(FieldType::Date));
        assert_eq!(field_type("process"), None);
    }

    #[test]
    fn suggests_near_names_only() {
        assert_eq!(suggest("proces.name"), Some("process.name"));
        assert_eq!(suggest("entirely.different.thing"), None);
    }

    #[test]
    fn every_line_is_well_formed() {
        for line in ECS.lines().chain(ADDITIONS.lines()).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let (name, mapping) = line.split_once('\t').unwrap_or_else(|| panic!("no tab in {line:?}"));
            assert!(!name.is_empty() && !mapping.contains('\t'), "{line:?}");
        }
    }
}
