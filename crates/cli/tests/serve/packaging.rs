//! The files in `packaging/`: what they say of the binary and of Rust is so.

use std::fs;
use std::path::Path;

use crate::bench::Bench;

fn packaging(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands behind the first line that begins so.
fn behind<'t>(text: &'t str, start: &str) -> &'t str {
    text.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_else(|| panic!("no line {start}"))
}

/// Starts what was asked for, in the test's own folder and on a free port.
fn assert_starts(bench: &Bench, arguments: &[String]) {
    let service = bench.start_with(arguments);
    assert_eq!(service.send("GET", "/", "").status, 200);
    let (status, _, log) = service.terminate();
    assert!(status.success(), "{log}");
}

#[test]
fn the_image_has_a_rust_that_is_new_enough() {
    let numbers = |version: &str| -> Vec<u32> {
        let numbers = version.split(['.', '-']).map_while(|number| number.parse().ok());
        numbers.take(2).collect()
    };
    let dockerfile = packaging("Dockerfile");
    let (given, needed) = (numbers(behind(&dockerfile, "FROM rust:")), numbers(env!("CARGO_PKG_RUST_VERSION")));
    assert!(given.len() == 2 && given >= needed, "{given:?} for {needed:?}");
}

#[test]
fn the_container_starts_a_service() {
    let bench = Bench::new();
    let arguments: Vec<String> = serde_json::from_str(behind(&packaging("Dockerfile"), "CMD ")).expect("a list");
    let here = |argument: String| match argument.as_str() {
        "/data" => bench.data("").display().to_string(),
        "0.0.0.0:9280" => "0.0.0.0:0".to_owned(),
        _ => argument,
    };
    assert_starts(&bench, &arguments.into_iter().map(here).collect::<Vec<_>>());
}

#[test]
fn the_unit_starts_a_service() {
    let bench = Bench::new();
    let (settings, _, code) = bench.run(&["config", "init"]);
    assert_eq!(code, 0);
    let settings = bench.file("eqlipse.toml", settings).display().to_string();
    let unit = packaging("eqlipse.service");
    let arguments = |start: &str| -> Vec<String> {
        let mut words = behind(&unit, start).split(' ');
        assert_eq!(words.next(), Some("/usr/local/bin/eqlipse"));
        let here = |word: &str| match word {
            "/etc/eqlipse/eqlipse.toml" => settings.clone(),
            "/var/lib/eqlipse" => bench.data("").display().to_string(),
            _ => word.to_owned(),
        };
        words.map(here).collect()
    };
    let check = arguments("ExecStartPre=");
    let (_, err, code) = bench.run(&check.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(code, 0, "{err}");
    assert_starts(&bench, &arguments("ExecStart="));
}
