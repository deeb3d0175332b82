//! Loads the rules under the given paths and says what came of it.

use std::time::Instant;

use eqlipse_rules::{PathOrStdin, load, validate};

fn main() {
    let paths: Vec<PathOrStdin> = std::env::args_os().skip(1).map(PathOrStdin::from).collect();
    let start = Instant::now();
    let load = load(&paths);
    eprintln!("{} rules in {:?}", load.rules.len(), start.elapsed());
    load.failures.iter().for_each(|failure| println!("{failure}"));
    load.warnings.iter().for_each(|warning| println!("{warning}"));
    for loaded in &load.rules {
        validate(&loaded.rule).iter().for_each(|problem| println!("{}: {problem}", loaded.origin));
    }
}
