//! Which data stream and which normaliser an event belongs to: by its own channel and provider, never by the name of
//! the file that it came in.

/// A provider's normaliser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mapping {
    Sysmon,
    Security,
    PowerShell,
    PowerShellOperational,
    Plain,
}

/// Where an event belongs.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    pub(super) mapping: Mapping,
    /// `event.module`, as the Winlogbeat module or, without one, the integration is called.
    pub module: &'static str,
    /// `event.dataset` and `data_stream.dataset`, as Elastic's integration calls it.
    pub dataset: &'static str,
    /// The indices that hold the event.
    pub indices: &'static [&'static str; 2],
}

macro_rules! route {
    ($mapping:ident, $module:literal, $dataset:literal) => {
        Route {
            mapping: Mapping::$mapping,
            module: $module,
            dataset: $dataset,
            indices: &[concat!("logs-", $dataset, "-default"), "winlogbeat-eqlipse"],
        }
    };
}

const SYSMON: Route = route!(Sysmon, "sysmon", "windows.sysmon_operational");
const SECURITY: Route = route!(Security, "security", "system.security");
const SECURITY_OTHER: Route = route!(Plain, "security", "system.security");
const POWERSHELL: Route = route!(PowerShell, "powershell", "windows.powershell");
const POWERSHELL_OPERATIONAL: Route = route!(PowerShellOperational, "powershell", "windows.powershell_operational");
const OTHER: Route = route!(Plain, "winlog", "winlog.winlog");

/// Channels with a data stream of their own and no normaliser of their own.
const CHANNELS: &[(&str, Route)] = &[
    ("Application", route!(Plain, "system", "system.application")),
    ("System", route!(Plain, "system", "system.system")),
    ("Microsoft-Windows-AppLocker/EXE and DLL", route!(Plain, "windows", "windows.applocker_exe_and_dll")),
    ("Microsoft-Windows-AppLocker/MSI and Script", route!(Plain, "windows", "windows.applocker_msi_and_script")),
    (
        "Microsoft-Windows-AppLocker/Packaged app-Deployment",
        route!(Plain, "windows", "windows.applocker_packaged_app_deployment"),
    ),
    (
        "Microsoft-Windows-AppLocker/Packaged app-Execution",
        route!(Plain, "windows", "windows.applocker_packaged_app_execution"),
    ),
    ("Microsoft-Windows-Windows Defender/Operational", route!(Plain, "windows", "windows.windows_defender")),
];

impl Route {
    /// The route of events of this channel and provider.
    pub fn of(channel: &str, provider: &str) -> Self {
        match (channel, provider) {
            ("Microsoft-Windows-Sysmon/Operational", _) | (_, "Microsoft-Windows-Sysmon") => SYSMON,
            ("Security", "Microsoft-Windows-Security-Auditing" | "Microsoft-Windows-Eventlog") => SECURITY,
            ("Security", _) => SECURITY_OTHER,
            ("Windows PowerShell", _) => POWERSHELL,
            ("Microsoft-Windows-PowerShell/Operational" | "PowerShellCore/Operational", _) => POWERSHELL_OPERATIONAL,
            _ => CHANNELS.iter().find(|(name, _)| *name == channel).map_or(OTHER, |(_, route)| *route),
        }
    }
}

/// The indices that hold events of this channel and provider: the integration's data stream and Winlogbeat's index.
pub fn index_names(channel: &str, provider: &str) -> &'static [&'static str] {
    Route::of(channel, provider).indices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices() {
        for (channel, provider, index) in [
            (
                "Microsoft-Windows-Sysmon/Operational",
                "Microsoft-Windows-Sysmon",
                "logs-windows.sysmon_operational-default",
            ),
            ("Security", "Microsoft-Windows-Security-Auditing", "logs-system.security-default"),
            ("Security", "AD FS Auditing", "logs-system.security-default"),
            ("System", "Service Control Manager", "logs-system.system-default"),
            ("Application", "MsiInstaller", "logs-system.application-default"),
            ("Windows PowerShell", "PowerShell", "logs-windows.powershell-default"),
            (
                "Microsoft-Windows-PowerShell/Operational",
                "Microsoft-Windows-PowerShell",
                "logs-windows.powershell_operational-default",
            ),
            (
                "Microsoft-Windows-WMI-Activity/Operational",
                "Microsoft-Windows-WMI-Activity",
                "logs-winlog.winlog-default",
            ),
        ] {
            assert_eq!(index_names(channel, provider), [index, "winlogbeat-eqlipse"]);
        }
    }
}
