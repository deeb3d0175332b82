//! Names of tasks, opcodes and keywords. On the source host they come from the provider's own files; what is known of
//! the providers that rules look at is here.

use crate::evtx::{RawEvent, Rendering};

use super::messages::message;

/// Opcodes that mean the same for every provider.
const OPCODES: [&str; 10] =
    ["Info", "Start", "Stop", "DCStart", "DCStop", "Extension", "Reply", "Resume", "Suspend", "Send"];

/// Keywords that mean the same for every provider, by bit.
const KEYWORDS: [(u8, &str); 8] = [
    (48, "Response Time"),
    (49, "WDI Context"),
    (50, "WDI Diag"),
    (51, "SQM"),
    (52, "Audit Failure"),
    (53, "Audit Success"),
    (54, "Correlation Hint"),
    (55, "Classic"),
];

/// The task's name.
pub fn task<'a>(raw: &RawEvent<'a>) -> Option<&'a str> {
    if let Some(task) = rendered(raw, |rendering| rendering.task) {
        return Some(task);
    }
    match raw.provider {
        "Microsoft-Windows-Security-Auditing" => message(u32::from(raw.task)),
        "Microsoft-Windows-Eventlog" => eventlog_task(raw.task),
        "Microsoft-Windows-Sysmon" => sysmon_task(raw.task),
        "Microsoft-Windows-PowerShell" => powershell_task(raw.task),
        "PowerShell" => powershell_classic_task(raw.task),
        _ if raw.task == 0 => Some("None"),
        _ => None,
    }
}

/// The opcode's name.
pub fn opcode<'a>(raw: &RawEvent<'a>) -> Option<&'a str> {
    if let Some(opcode) = rendered(raw, |rendering| rendering.opcode) {
        return Some(opcode);
    }
    // Classic events have none and mean the first.
    let opcode = raw.opcode.unwrap_or_default();
    match opcode {
        240 => Some("Receive"),
        _ => OPCODES.get(usize::from(opcode)).copied().or_else(|| match raw.provider {
            "Microsoft-Windows-PowerShell" => powershell_opcode(opcode),
            _ => None,
        }),
    }
}

/// The keywords' names.
pub fn keywords<'a>(raw: &RawEvent<'a>) -> Vec<&'a str> {
    match &raw.rendering {
        Some(rendering) if !rendering.keywords.is_empty() => rendering.keywords.clone(),
        _ => KEYWORDS.iter().filter(|(bit, _)| raw.keywords >> bit & 1 == 1).map(|(_, name)| *name).collect(),
    }
}

fn rendered<'a>(raw: &RawEvent<'a>, text: impl Fn(&Rendering<'a>) -> Option<&'a str>) -> Option<&'a str> {
    raw.rendering.as_ref().and_then(text)
}

fn eventlog_task(task: u16) -> Option<&'static str> {
    Some(match task {
        101 => "Event processing",
        103 => "Service shutdown",
        104 => "Log clear",
        105 => "Log automatic backup",
        _ => return None,
    })
}

#[rustfmt::skip]
fn sysmon_task(task: u16) -> Option<&'static str> {
    Some(match task {
        1 => "Process Create (rule: ProcessCreate)",
        2 => "File creation time changed (rule: FileCreateTime)",
        3 => "Network connection detected (rule: NetworkConnect)",
        4 => "Sysmon service state changed",
        5 => "Process terminated (rule: ProcessTerminate)",
        6 => "Driver loaded (rule: DriverLoad)",
        7 => "Image loaded (rule: ImageLoad)",
        8 => "CreateRemoteThread detected (rule: CreateRemoteThread)",
        9 => "RawAccessRead detected (rule: RawAccessRead)",
        10 => "Process accessed (rule: ProcessAccess)",
        11 => "File created (rule: FileCreate)",
        12 => "Registry object added or deleted (rule: RegistryEvent)",
        13 => "Registry value set (rule: RegistryEvent)",
        14 => "Registry object renamed (rule: RegistryEvent)",
        15 => "File stream created (rule: FileCreateStreamHash)",
        16 => "Sysmon config state changed",
        17 => "Pipe Created (rule: PipeEvent)",
        18 => "Pipe Connected (rule: PipeEvent)",
        19 => "WmiEventFilter activity detected (rule: WmiEvent)",
        20 => "WmiEventConsumer activity detected (rule: WmiEvent)",
        21 => "WmiEventConsumerToFilter activity detected (rule: WmiEvent)",
        22 => "Dns query (rule: DnsQuery)",
        23 => "File Delete archived (rule: FileDelete)",
        24 => "Clipboard changed (rule: ClipboardChange)",
        25 => "Process Tampering (rule: ProcessTampering)",
        26 => "File Delete logged (rule: FileDeleteDetected)",
        27 => "File Block Executable (rule: FileBlockExecutable)",
        28 => "File Block Shredding (rule: FileBlockShredding)",
        29 => "File Executable Detected (rule: FileExecutableDetected)",
        255 => "Error report",
        _ => return None,
    })
}

fn powershell_task(task: u16) -> Option<&'static str> {
    Some(match task {
        2 => "Execute a Remote Command",
        102 => "Starting Command",
        103 => "Stopping Command",
        106 => "Executing Pipeline",
        _ => return None,
    })
}

fn powershell_classic_task(task: u16) -> Option<&'static str> {
    Some(match task {
        2 => "Command Health",
        3 => "Command Lifecycle",
        4 => "Engine Lifecycle",
        5 => "Engine Health",
        6 => "Provider Lifecycle",
        7 => "Settings",
        8 => "Pipeline Execution Details",
        _ => return None,
    })
}

fn powershell_opcode(opcode: u8) -> Option<&'static str> {
    Some(match opcode {
        10 => "Open (async)",
        11 => "Close (Async)",
        12 => "Connect",
        13 => "Disconnect",
        14 => "Negotiate",
        15 => "On create calls",
        18 => "Constructor",
        19 => "Dispose",
        20 => "To be used when operation is just executing a method",
        _ => return None,
    })
}
