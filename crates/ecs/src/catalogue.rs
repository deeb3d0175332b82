use std::collections::HashMap;
use std::sync::LazyLock;

use crate::FieldType;

/// `name<TAB>mapping type` per line, sorted by name; written by `cargo run -p xtask -- ecs-catalogue`.
const ECS: &str = include_str!("ecs.tsv");
/// The fields of Beats, Elastic Defend and the common integrations that ECS does not have; kept by hand.
const ADDITIONS: &str = include_str!("additions.tsv");

#[derive(Default)]
struct Catalogue {
    fields: HashMap<&'static str, FieldType>,
    /// Names below which every field has the type.
    below: HashMap<&'static str, FieldType>,
}

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let mut catalogue = Catalogue::default();
    let lines = [ECS, ADDITIONS].into_iter().flat_map(str::lines);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some((name, mapping)) = line.split_once('\t') else { continue };
        let Some(ty) = FieldType::from_mapping(mapping) else { continue };
        let flattened = (mapping == "flattened").then_some(name);
        if let Some(prefix) = name.strip_suffix(".*").or(flattened) {
            catalogue.below.insert(prefix, ty);
        }
        catalogue.fields.insert(name, ty);
    }
    catalogue
});

/// The type of the field with this dotted name, or `None` where the catalogue does not know it.
pub fn field_type(name: &str) -> Option<FieldType> {
    if let Some(ty) = CATALOGUE.fields.get(name) {
        return Some(*ty);
    }
    let prefixes = name.rmatch_indices('.').map(|(dot, _)| &name[..dot]);
    prefixes.into_iter().find_map(|prefix| CATALOGUE.below.get(prefix)).copied()
}

/// All names in the catalogue, in no order.
pub fn names() -> impl Iterator<Item = &'static str> {
    CATALOGUE.fields.keys().filter(|name| !name.ends_with('*')).copied()
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
        assert_eq!(field_type("winlog.event_data.AccessList"), Some(FieldType::Keyword));
        assert_eq!(field_type("winlog.process.pid"), Some(FieldType::Long));
        assert_eq!(field_type("aws.cloudtrail.flattened.request_parameters.a.b"), Some(FieldType::Keyword));
        assert_eq!(field_type("process.unknown.name"), None);
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
