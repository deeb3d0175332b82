//! Writes `crates/ecs/src/ecs.tsv` from ECS's published field list.

use std::collections::BTreeSet;
use std::path::Path;

/// Reads the CSV that ECS publishes (columns `Field` and `Type`) and writes one `name<TAB>type` line a field, sorted.
pub fn write(source: &Path, target: &Path) -> Result<usize, Box<dyn std::error::Error>> {
    let mut reader = csv::Reader::from_path(source)?;
    let headers = reader.headers()?.clone();
    let column = |name: &str| {
        headers
            .iter()
            .position(|header| header == name)
            .ok_or_else(|| format!("no column {name} in {}", source.display()))
    };
    let (field, ty) = (column("Field")?, column("Type")?);
    let mut lines = BTreeSet::new();
    for record in reader.records() {
        let record = record?;
        lines.insert((record[field].to_owned(), record[ty].to_owned()));
    }
    let text: String = lines.iter().map(|(name, ty)| format!("{name}\t{ty}\n")).collect();
    std::fs::write(target, text)?;
    Ok(lines.len())
}
