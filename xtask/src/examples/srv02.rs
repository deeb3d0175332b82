//! SRV02: the file server that the attacker moves to. No Sysmon there; its Security and System logs tell the story.

use super::windows::{Log, Logon, SYSTEM, User, at, ms};
use eqlipse_fleet::random::Random;

const COMPUTER: &str = "SRV02.corp.example";
const BACKUP: User = User {
    domain: "CORP",
    name: "svc-backup",
    sid: "S-1-5-21-1104297311-2208594622-3312891933-1132",
    logon_id: 0x9c_41d7,
};
const SUPPORT: User =
    User { domain: "SRV02", name: "support_x", sid: "S-1-5-21-880214417-1760428834-2640643251-1006", logon_id: 0 };
const ADMIN: User = User {
    domain: "CORP",
    name: "it.admin",
    sid: "S-1-5-21-1104297311-2208594622-3312891933-1118",
    logon_id: 0x51_7720,
};

/// The two logs of the machine.
pub struct Srv02 {
    pub security: Vec<u8>,
    pub system: Vec<u8>,
}

pub fn logs() -> Srv02 {
    let mut security = Log::security(COMPUTER, 902_114);
    let mut system = Log::system(COMPUTER, 31_077);
    visitors(&mut security);
    services(&mut system);
    agent_update(&mut security, &mut system);
    forgotten_password(&mut security);
    intrusion(&mut security, &mut system);
    Srv02 { security: security.finish(), system: system.finish() }
}

fn network<'a>(user: &'a User, workstation: &'a str, address: &'a str, port: u16) -> Logon<'a> {
    Logon { user, kind: 3, process: "NtLmSsp ", package: "NTLM", workstation, address, port }
}

/// People and machines that use the shares.
fn visitors(log: &mut Log) {
    let mut random = Random::new(20);
    let mut time = at("06:58:00.000");
    while time < at("09:55:00.000") {
        let (name, sid, station, address) = random.pick(&[
            ("mara.lind", "S-1-5-21-1104297311-2208594622-3312891933-1105", "WS01", "192.0.2.51"),
            ("jon.ahl", "S-1-5-21-1104297311-2208594622-3312891933-1107", "WS02", "192.0.2.52"),
            ("eva.roos", "S-1-5-21-1104297311-2208594622-3312891933-1109", "WS03", "192.0.2.53"),
            ("SRV03$", "S-1-5-21-1104297311-2208594622-3312891933-1141", "SRV03", "192.0.2.21"),
        ]);
        let user = User { domain: "CORP", name, sid, logon_id: random.range(0x10_0000, 0x9f_0000) };
        log.logon(time, &network(&user, station, address, random.range(49700, 65000) as u16));
        log.logoff(time + ms(random.range(5_000, 40_000) as i64), &user, 3);
        time += ms(random.range(120_000, 360_000) as i64);
    }
}

fn services(log: &mut Log) {
    let mut random = Random::new(21);
    let mut time = at("06:45:00.000");
    while time < at("09:59:00.000") {
        let service = random.pick(&[
            "Windows Update",
            "WMI Performance Adapter",
            "Software Protection",
            "Windows Modules Installer",
            "Background Intelligent Transfer Service",
        ]);
        log.service_state(time, service, "running");
        log.service_state(time + ms(random.range(60_000, 240_000) as i64), service, "stopped");
        time += ms(random.range(200_000, 500_000) as i64);
    }
}

/// The management server installs a service too: from Program Files, with a known account.
fn agent_update(security: &mut Log, system: &mut Log) {
    let path = "\"C:\\Program Files\\Fleet Agent\\agent.exe\" --service";
    security.logon(at("07:30:10.118"), &network(&ADMIN, "MGMT01", "192.0.2.5", 51_240));
    security.privileges(at("07:30:10.119"), &ADMIN);
    security.service_installed(at("07:30:21.600"), &ADMIN, "FleetAgent", path);
    system.new_service(at("07:30:21.604"), &ADMIN, "FleetAgent", path, "user mode service");
    security.logoff(at("07:31:02.004"), &ADMIN, 3);
    let driver = "\\SystemRoot\\System32\\drivers\\wd\\WdFilter.sys";
    system.new_service(at("08:15:40.220"), &SYSTEM, "WdFilter", driver, "kernel mode driver");
}

/// Three wrong passwords and then the right one.
fn forgotten_password(log: &mut Log) {
    let user = User {
        domain: "CORP",
        name: "eva.roos",
        sid: "S-1-5-21-1104297311-2208594622-3312891933-1109",
        logon_id: 0x61_0a2c,
    };
    let logon = network(&user, "WS03", "192.0.2.53", 50_112);
    for clock in ["08:03:11.200", "08:03:19.340", "08:03:30.017"] {
        log.failed_logon(at(clock), &logon);
    }
    log.logon(at("08:03:52.760"), &logon);
}

/// 09:12: a logon from WS01 with the backup account, a service that runs a shell, a new administrator.
fn intrusion(security: &mut Log, system: &mut Log) {
    let command = "%COMSPEC% /Q /c C:\\Windows\\Temp\\wsync.exe";
    security.logon(at("09:12:18.440"), &network(&BACKUP, "WS01", "192.0.2.51", 53_871));
    security.privileges(at("09:12:18.441"), &BACKUP);
    security.service_installed(at("09:12:24.903"), &BACKUP, "WinSyncSvc", command);
    system.new_service(at("09:12:24.907"), &BACKUP, "WinSyncSvc", command, "user mode service");
    let session = User { logon_id: 0x3e7, ..SYSTEM };
    security.account_created(at("09:15:03.118"), &session, &SUPPORT);
    security.made_administrator(at("09:15:09.662"), &session, &SUPPORT);
    security.logoff(at("09:17:40.050"), &BACKUP, 3);
}
