//! `cargo run -p xtask -- examples`: writes the story in `examples/`.
//!
//! The files are made, not recorded: no log of a real host is in them. The same program always writes the same bytes.

mod base64;

mod srv02;
mod web01;
mod windows;
mod ws01;

use std::io;
use std::path::Path;

/// Each file's path inside `examples/`, and its bytes.
pub fn files() -> Vec<(&'static str, Vec<u8>)> {
    let (ws01, srv02) = (ws01::logs(), srv02::logs());
    vec![
        ("story/ws01-sysmon.evtx", ws01.sysmon),
        ("story/ws01-powershell.evtx", ws01.powershell),
        ("story/ws01-security.evtx", ws01.security),
        ("story/srv02-security.evtx", srv02.security),
        ("story/srv02-system.evtx", srv02.system),
        ("story/linux-web01.ndjson", web01::ndjson()),
    ]
}

/// Writes the files into this folder.
pub fn write(examples: &Path) -> io::Result<()> {
    for (path, bytes) in files() {
        let path = examples.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(examples))?;
        std::fs::write(&path, &bytes)?;
        println!("{} ({} bytes)", path.display(), bytes.len());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
