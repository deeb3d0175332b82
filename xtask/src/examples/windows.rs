//! Events as Windows writes them: Sysmon, Security, System and PowerShell, each with the names, order and types of its
//! provider's manifest.

use eqlipse_testkit::evtx_writer::{EvtxEvent, Guid, Payload, Sid, Value, write_evtx};
use jiff::{SignedDuration, Timestamp};

use eqlipse_fleet::random::Random;

/// A time on the day of the story.
pub fn at(clock: &str) -> Timestamp {
    format!("2026-09-15T{clock}Z").parse().expect("a time of day")
}

/// A duration in milliseconds.
pub fn ms(milliseconds: i64) -> SignedDuration {
    SignedDuration::from_millis(milliseconds)
}

/// An account, and its logon session on the machine.
#[derive(Clone, Debug)]
pub struct User {
    pub domain: &'static str,
    pub name: &'static str,
    pub sid: &'static str,
    pub logon_id: u64,
}

pub const SYSTEM: User = User { domain: "NT AUTHORITY", name: "SYSTEM", sid: "S-1-5-18", logon_id: 0x3e7 };
pub const NETWORK_SERVICE: User =
    User { domain: "NT AUTHORITY", name: "NETWORK SERVICE", sid: "S-1-5-20", logon_id: 0x3e4 };

impl User {
    fn account(&self) -> String {
        format!("{}\\{}", self.domain, self.name)
    }

    fn sid(&self) -> Value {
        Value::Sid(parse_sid(self.sid))
    }
}

fn parse_sid(text: &str) -> Sid {
    text.parse().expect("a SID")
}

fn parse_guid(text: &str) -> Guid {
    text.parse().expect("a GUID")
}

/// A process of the story.
#[derive(Clone, Debug)]
pub struct Process {
    pub guid: Guid,
    pub pid: u32,
    pub image: String,
    pub command_line: String,
    pub user: User,
}

/// One event log of one machine, while it is being filled in any order.
pub struct Log {
    computer: &'static str,
    template: EvtxEvent,
    first_record_id: u64,
    events: Vec<EvtxEvent>,
}

impl Log {
    fn new(computer: &'static str, channel: &str, provider: &str, guid: &str, first_record_id: u64) -> Self {
        let template = EvtxEvent {
            provider: provider.to_owned(),
            provider_guid: Some(parse_guid(guid)),
            channel: channel.to_owned(),
            computer: computer.to_owned(),
            level: 4,
            ..EvtxEvent::default()
        };
        Self { computer, template, first_record_id, events: Vec::new() }
    }

    /// Sysmon's log. The service runs as SYSTEM.
    pub fn sysmon(computer: &'static str, first_record_id: u64) -> Self {
        let (channel, guid) = ("Microsoft-Windows-Sysmon/Operational", "5770385f-c22a-43e0-bf4c-06f5698ffbd9");
        let mut log = Self::new(computer, channel, "Microsoft-Windows-Sysmon", guid, first_record_id);
        log.template.keywords = 0x8000_0000_0000_0000;
        log.template.process_id = 2904;
        log.template.thread_id = 4012;
        log.template.user_sid = Some(parse_sid(SYSTEM.sid));
        log
    }

    /// The Security log.
    pub fn security(computer: &'static str, first_record_id: u64) -> Self {
        let guid = "54849625-5478-4994-a5ba-3e3b0328c30d";
        let mut log = Self::new(computer, "Security", "Microsoft-Windows-Security-Auditing", guid, first_record_id);
        log.template.level = 0;
        log.template.keywords = AUDIT_SUCCESS;
        log.template.process_id = 712;
        log.template.thread_id = 760;
        log
    }

    /// The System log, with the service control manager as its provider.
    pub fn system(computer: &'static str, first_record_id: u64) -> Self {
        let guid = "555908d1-a6d7-4695-8e1e-26931d2012f4";
        let mut log = Self::new(computer, "System", "Service Control Manager", guid, first_record_id);
        log.template.qualifiers = Some(16384);
        log.template.keywords = 0x8080_0000_0000_0000;
        log.template.process_id = 688;
        log.template.thread_id = 1204;
        log
    }

    /// PowerShell's operational log.
    pub fn powershell(computer: &'static str, first_record_id: u64) -> Self {
        let (channel, guid) = ("Microsoft-Windows-PowerShell/Operational", "a0c1853b-5c40-4b15-8766-3cf1c58f985a");
        let mut log = Self::new(computer, channel, "Microsoft-Windows-PowerShell", guid, first_record_id);
        log.template.task = 2;
        log.template.opcode = 15;
        log
    }

    fn push(&mut self, event_id: u16, version: u8, task: u16, time: Timestamp, fields: Vec<(&str, Value)>) {
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let payload = Payload::EventData(fields);
        self.events.push(EvtxEvent { event_id, version, task, time, payload, ..self.template.clone() });
    }

    fn last(&mut self) -> &mut EvtxEvent {
        self.events.last_mut().expect("an event was pushed")
    }

    /// The file: events by time, numbered in that order.
    pub fn finish(mut self) -> Vec<u8> {
        self.events.sort_by_key(|event| event.time);
        for (event, id) in self.events.iter_mut().zip(self.first_record_id..) {
            event.record_id = id;
        }
        write_evtx(&self.events).unwrap_or_else(|error| panic!("{}: {error}", self.computer))
    }
}

pub const AUDIT_SUCCESS: u64 = 0x8020_0000_0000_0000;
pub const AUDIT_FAILURE: u64 = 0x8010_0000_0000_0000;

/// Sysmon on one machine: its log, and the numbers that it gives to processes.
pub struct Sysmon {
    pub log: Log,
    computer: &'static str,
    address: &'static str,
    machine: u32,
    random: Random,
    next_process: u64,
}

/// What a program's version resource says.
struct Version {
    file: &'static str,
    description: &'static str,
    product: &'static str,
    company: &'static str,
    original: &'static str,
}

const WINDOWS_PRODUCT: &str = "Microsoft® Windows® Operating System";

const fn windows(description: &'static str, original: &'static str) -> Version {
    let (file, company) = ("10.0.19041.4355 (WinBuild.160101.0800)", "Microsoft Corporation");
    Version { file, description, product: WINDOWS_PRODUCT, company, original }
}

const UNKNOWN: Version = Version { file: "-", description: "-", product: "-", company: "-", original: "-" };

fn version_of(name: &str) -> Version {
    match name.to_ascii_lowercase().as_str() {
        "mshta.exe" => windows("Microsoft (R) HTML Application host", "MSHTA.EXE"),
        "powershell.exe" => windows("Windows PowerShell", "PowerShell.EXE"),
        "cmd.exe" => windows("Windows Command Processor", "Cmd.Exe"),
        "conhost.exe" => windows("Console Window Host", "CONHOST.EXE"),
        "svchost.exe" => windows("Host Process for Windows Services", "svchost.exe"),
        "rundll32.exe" => windows("Windows host process (Rundll32)", "RUNDLL32.EXE"),
        "reg.exe" => windows("Registry Console Tool", "reg.exe"),
        "schtasks.exe" => windows("Task Scheduler Configuration Tool", "schtasks.exe"),
        "whoami.exe" => windows("whoami - displays logged on user information", "whoami.exe"),
        "ipconfig.exe" => windows("IP Configuration Utility", "ipconfig.exe"),
        "net.exe" => windows("Net Command", "net.exe"),
        "net1.exe" => windows("Net Command", "net1.exe"),
        "nltest.exe" => windows("Microsoft® Logon Server Test Utility", "nltestrk.exe"),
        "systeminfo.exe" => windows("Displays system information", "sysinfo.exe"),
        "fodhelper.exe" => windows("Features On Demand Helper", "FodHelper.EXE"),
        "wevtutil.exe" => windows("Eventing Command Line Utility", "wevtutil.exe"),
        "taskhostw.exe" => windows("Host Process for Windows Tasks", "taskhostw.exe"),
        "backgroundtaskhost.exe" => windows("Background Task Host", "backgroundTaskHost.exe"),
        "searchprotocolhost.exe" => windows("Microsoft Windows Search Protocol Host", "SearchProtocolHost.exe"),
        "notepad.exe" => windows("Notepad", "NOTEPAD.EXE"),
        "dllhost.exe" => windows("COM Surrogate", "dllhost.exe"),
        "curl.exe" => Version {
            file: "8.4.0",
            description: "The curl executable",
            product: "The curl executable",
            company: "curl, https://curl.se/",
            original: "curl.exe",
        },
        _ => UNKNOWN,
    }
}

fn base_name(path: &str) -> &str {
    path.rsplit('\\').next().unwrap_or(path)
}

/// Made-up hashes: the same for the same path.
fn hashes(image: &str) -> String {
    format!("SHA256={}", Random::from_text(&image.to_ascii_lowercase()).hex(64).to_ascii_uppercase())
}

fn utc(time: Timestamp) -> Value {
    Value::text(time.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string())
}

impl Sysmon {
    pub fn new(computer: &'static str, address: &'static str, machine: u32, first_record_id: u64) -> Self {
        let log = Log::sysmon(computer, first_record_id);
        Self { log, computer, address, machine, random: Random::new(u64::from(machine)), next_process: 0x4a1 }
    }

    /// A process that was there before the log begins.
    pub fn running(&mut self, started: &str, pid: u32, image: &str, command_line: &str, user: &User) -> Process {
        let guid = self.process_guid(at(started));
        Process { guid, pid, image: image.to_owned(), command_line: command_line.to_owned(), user: user.clone() }
    }

    /// The GUID names the machine, the second the process started, and the process.
    fn process_guid(&mut self, time: Timestamp) -> Guid {
        self.next_process += 1;
        let seconds = time.as_second() as u32;
        let time = (u128::from(seconds & 0xffff) << 16) | u128::from(seconds >> 16);
        Guid((u128::from(self.machine) << 96) | (time << 64) | (u128::from(self.next_process) << 40) | 0x1400)
    }

    fn push(&mut self, event_id: u16, version: u8, time: Timestamp, fields: Vec<(&str, Value)>) {
        let mut all = vec![("RuleName", Value::from("-"))];
        all.extend(fields);
        // The record is made a little after the event.
        let delay = self.random.range(1, 6) as i64;
        self.log.push(event_id, version, event_id, time + ms(delay), all);
    }

    /// 1, process creation.
    pub fn start(&mut self, time: Timestamp, parent: &Process, image: &str, command_line: &str) -> Process {
        let user = parent.user.clone();
        self.start_as(time, parent, image, command_line, &user, "Medium")
    }

    /// 1, process creation by another account or at another integrity level than the parent's.
    pub fn start_as(
        &mut self,
        time: Timestamp,
        parent: &Process,
        image: &str,
        command_line: &str,
        user: &User,
        integrity: &str,
    ) -> Process {
        let guid = self.process_guid(time);
        let pid = (self.random.range(500, 4000) * 4) as u32;
        let (version, session) = (version_of(base_name(image)), u32::from(user.sid.len() > 8));
        let directory =
            if session == 1 { format!("C:\\Users\\{}\\", user.name) } else { "C:\\Windows\\system32\\".into() };
        let logon_guid = Guid((u128::from(self.machine) << 96) | (0x1c3f_68c7 << 64) | u128::from(user.logon_id));
        self.push(
            1,
            5,
            time,
            vec![
                ("UtcTime", utc(time)),
                ("ProcessGuid", Value::Guid(guid)),
                ("ProcessId", Value::UInt32(pid)),
                ("Image", image.into()),
                ("FileVersion", version.file.into()),
                ("Description", version.description.into()),
                ("Product", version.product.into()),
                ("Company", version.company.into()),
                ("OriginalFileName", version.original.into()),
                ("CommandLine", command_line.into()),
                ("CurrentDirectory", directory.into()),
                ("User", user.account().into()),
                ("LogonGuid", Value::Guid(logon_guid)),
                ("LogonId", Value::Hex64(user.logon_id)),
                ("TerminalSessionId", Value::UInt32(session)),
                ("IntegrityLevel", integrity.into()),
                ("Hashes", hashes(image).into()),
                ("ParentProcessGuid", Value::Guid(parent.guid)),
                ("ParentProcessId", Value::UInt32(parent.pid)),
                ("ParentImage", parent.image.clone().into()),
                ("ParentCommandLine", parent.command_line.clone().into()),
                ("ParentUser", parent.user.account().into()),
            ],
        );
        Process { guid, pid, image: image.to_owned(), command_line: command_line.to_owned(), user: user.clone() }
    }

    /// 5, process ended.
    pub fn end(&mut self, time: Timestamp, process: &Process) {
        let mut fields = subject(time, process);
        fields.push(("User", process.user.account().into()));
        self.push(5, 3, time, fields);
    }

    /// 3, an outgoing TCP connection.
    pub fn connect(&mut self, time: Timestamp, process: &Process, destination: &str, port: u16) {
        let source_port = self.random.range(49700, 65000) as u16;
        let port_name = if port == 443 { "https" } else { "-" };
        let mut fields = subject(time, process);
        fields.extend([
            ("User", process.user.account().into()),
            ("Protocol", "tcp".into()),
            ("Initiated", Value::Bool(true)),
            ("SourceIsIpv6", Value::Bool(false)),
            ("SourceIp", self.address.into()),
            ("SourceHostname", self.computer.into()),
            ("SourcePort", Value::UInt16(source_port)),
            ("SourcePortName", "-".into()),
            ("DestinationIsIpv6", Value::Bool(false)),
            ("DestinationIp", destination.into()),
            ("DestinationHostname", "-".into()),
            ("DestinationPort", Value::UInt16(port)),
            ("DestinationPortName", port_name.into()),
        ]);
        self.push(3, 5, time, fields);
    }

    /// 22, a DNS query that was answered.
    pub fn query(&mut self, time: Timestamp, process: &Process, name: &str, answer: &str) {
        self.push(
            22,
            5,
            time,
            vec![
                ("UtcTime", utc(time)),
                ("ProcessGuid", Value::Guid(process.guid)),
                ("ProcessId", Value::UInt32(process.pid)),
                ("QueryName", name.into()),
                ("QueryStatus", "0".into()),
                ("QueryResults", format!("::ffff:{answer};").into()),
                ("Image", process.image.clone().into()),
                ("User", process.user.account().into()),
            ],
        );
    }

    /// 11, file created.
    pub fn create_file(&mut self, time: Timestamp, process: &Process, path: &str) {
        let mut fields = subject(time, process);
        fields.extend([
            ("TargetFilename", path.into()),
            ("CreationUtcTime", utc(time)),
            ("User", process.user.account().into()),
        ]);
        self.push(11, 2, time, fields);
    }

    /// 13, registry value set.
    pub fn set_value(&mut self, time: Timestamp, process: &Process, path: &str, details: &str) {
        let mut fields = vec![("EventType", Value::from("SetValue"))];
        fields.extend(subject(time, process));
        fields.extend([
            ("TargetObject", path.into()),
            ("Details", details.into()),
            ("User", process.user.account().into()),
        ]);
        self.push(13, 2, time, fields);
    }

    /// 10, a process opened another.
    pub fn access(&mut self, time: Timestamp, source: &Process, target: &Process, access: u32, trace: &str) {
        let thread = self.random.range(300, 3000) as u32 * 4;
        self.push(
            10,
            3,
            time,
            vec![
                ("UtcTime", utc(time)),
                ("SourceProcessGUID", Value::Guid(source.guid)),
                ("SourceProcessId", Value::UInt32(source.pid)),
                ("SourceThreadId", Value::UInt32(thread)),
                ("SourceImage", source.image.clone().into()),
                ("TargetProcessGUID", Value::Guid(target.guid)),
                ("TargetProcessId", Value::UInt32(target.pid)),
                ("TargetImage", target.image.clone().into()),
                ("GrantedAccess", Value::Hex32(access)),
                ("CallTrace", trace.into()),
                ("SourceUser", source.user.account().into()),
                ("TargetUser", target.user.account().into()),
            ],
        );
    }
}

/// The fields that most Sysmon events begin with.
fn subject(time: Timestamp, process: &Process) -> Vec<(&'static str, Value)> {
    vec![
        ("UtcTime", utc(time)),
        ("ProcessGuid", Value::Guid(process.guid)),
        ("ProcessId", Value::UInt32(process.pid)),
        ("Image", process.image.clone().into()),
    ]
}

/// A logon, as the Security log tells it.
pub struct Logon<'a> {
    pub user: &'a User,
    /// 2 at the console, 3 over the network, 5 a service, …
    pub kind: u32,
    pub process: &'a str,
    pub package: &'a str,
    /// The other machine's name and address; `-` for none.
    pub workstation: &'a str,
    pub address: &'a str,
    pub port: u16,
}

impl Log {
    /// 4624, an account was logged on.
    pub fn logon(&mut self, time: Timestamp, logon: &Logon) {
        let local = logon.address == "-";
        let (subject, name) = if local {
            (SYSTEM.clone(), format!("{}$", self.computer.split('.').next().unwrap_or_default()))
        } else {
            (User { domain: "-", name: "-", sid: "S-1-0-0", logon_id: 0 }, "-".to_owned())
        };
        let program = if local { "C:\\Windows\\System32\\services.exe" } else { "-" };
        self.push(
            4624,
            2,
            12544,
            time,
            vec![
                ("SubjectUserSid", subject.sid()),
                ("SubjectUserName", name.into()),
                ("SubjectDomainName", if local { "CORP".into() } else { "-".into() }),
                ("SubjectLogonId", Value::Hex64(subject.logon_id)),
                ("TargetUserSid", logon.user.sid()),
                ("TargetUserName", logon.user.name.into()),
                ("TargetDomainName", logon.user.domain.into()),
                ("TargetLogonId", Value::Hex64(logon.user.logon_id)),
                ("LogonType", Value::UInt32(logon.kind)),
                ("LogonProcessName", logon.process.into()),
                ("AuthenticationPackageName", logon.package.into()),
                ("WorkstationName", logon.workstation.into()),
                ("LogonGuid", Value::Guid(Guid::default())),
                ("TransmittedServices", "-".into()),
                ("LmPackageName", if logon.package == "NTLM" { "NTLM V2".into() } else { "-".into() }),
                ("KeyLength", Value::UInt32(if logon.package == "NTLM" { 128 } else { 0 })),
                ("ProcessId", Value::Hex64(if local { 0x2b0 } else { 0 })),
                ("ProcessName", program.into()),
                ("IpAddress", logon.address.into()),
                ("IpPort", if local { "-".into() } else { logon.port.to_string().into() }),
                ("ImpersonationLevel", "%%1833".into()),
                ("RestrictedAdminMode", "-".into()),
                ("TargetOutboundUserName", "-".into()),
                ("TargetOutboundDomainName", "-".into()),
                ("VirtualAccount", "%%1843".into()),
                ("TargetLinkedLogonId", Value::Hex64(0)),
                ("ElevatedToken", "%%1842".into()),
            ],
        );
    }

    /// 4625, an account failed to log on: wrong password.
    pub fn failed_logon(&mut self, time: Timestamp, logon: &Logon) {
        self.push(
            4625,
            0,
            12544,
            time,
            vec![
                ("SubjectUserSid", Value::Sid(parse_sid("S-1-0-0"))),
                ("SubjectUserName", "-".into()),
                ("SubjectDomainName", "-".into()),
                ("SubjectLogonId", Value::Hex64(0)),
                ("TargetUserSid", Value::Sid(parse_sid("S-1-0-0"))),
                ("TargetUserName", logon.user.name.into()),
                ("TargetDomainName", logon.user.domain.into()),
                ("Status", Value::Hex32(0xc000_006d)),
                ("FailureReason", "%%2313".into()),
                ("SubStatus", Value::Hex32(0xc000_006a)),
                ("LogonType", Value::UInt32(logon.kind)),
                ("LogonProcessName", logon.process.into()),
                ("AuthenticationPackageName", logon.package.into()),
                ("WorkstationName", logon.workstation.into()),
                ("TransmittedServices", "-".into()),
                ("LmPackageName", "-".into()),
                ("KeyLength", Value::UInt32(0)),
                ("ProcessId", Value::Hex64(0)),
                ("ProcessName", "-".into()),
                ("IpAddress", logon.address.into()),
                ("IpPort", logon.port.to_string().into()),
            ],
        );
        self.last().keywords = AUDIT_FAILURE;
    }

    /// 4634, an account was logged off.
    pub fn logoff(&mut self, time: Timestamp, user: &User, kind: u32) {
        self.push(
            4634,
            0,
            12545,
            time,
            vec![
                ("TargetUserSid", user.sid()),
                ("TargetUserName", user.name.into()),
                ("TargetDomainName", user.domain.into()),
                ("TargetLogonId", Value::Hex64(user.logon_id)),
                ("LogonType", Value::UInt32(kind)),
            ],
        );
    }

    /// 4672, special privileges assigned to a new logon.
    pub fn privileges(&mut self, time: Timestamp, user: &User) {
        let mut fields = security_subject(user);
        let list = ["SeSecurityPrivilege", "SeBackupPrivilege", "SeRestorePrivilege", "SeDebugPrivilege"];
        fields.push(("PrivilegeList", list.join("\r\n\t\t\t").into()));
        self.push(4672, 0, 12548, time, fields);
    }

    /// 4697, a service was installed.
    pub fn service_installed(&mut self, time: Timestamp, user: &User, name: &str, path: &str) {
        let mut fields = security_subject(user);
        fields.extend([
            ("ServiceName", name.into()),
            ("ServiceFileName", path.into()),
            ("ServiceType", Value::Hex32(0x10)),
            ("ServiceStartType", Value::UInt32(3)),
            ("ServiceAccount", "LocalSystem".into()),
        ]);
        self.push(4697, 0, 12289, time, fields);
    }

    /// 4720, a user account was created.
    pub fn account_created(&mut self, time: Timestamp, user: &User, account: &User) {
        let mut fields = vec![
            ("TargetUserName", account.name.into()),
            ("TargetDomainName", account.domain.into()),
            ("TargetSid", account.sid()),
        ];
        fields.extend(security_subject(user));
        fields.push(("PrivilegeList", "-".into()));
        fields.push(("SamAccountName", account.name.into()));
        let unset = ["DisplayName", "UserPrincipalName", "HomeDirectory", "HomePath", "ScriptPath", "ProfilePath"];
        fields.extend(unset.map(|name| (name, Value::from("%%1793"))));
        fields.extend([
            ("UserWorkstations", "%%1793".into()),
            ("PasswordLastSet", "%%1794".into()),
            ("AccountExpires", "%%1794".into()),
            ("PrimaryGroupId", "513".into()),
            ("AllowedToDelegateTo", "-".into()),
            ("OldUacValue", "0x0".into()),
            ("NewUacValue", "0x15".into()),
            ("UserAccountControl", "\r\n\t\t%%2080\r\n\t\t%%2082\r\n\t\t%%2084".into()),
            ("UserParameters", "%%1793".into()),
            ("SidHistory", "-".into()),
            ("LogonHours", "%%1797".into()),
        ]);
        self.push(4720, 0, 13824, time, fields);
    }

    /// 4732, a member was added to the local Administrators group.
    pub fn made_administrator(&mut self, time: Timestamp, user: &User, account: &User) {
        let mut fields = vec![
            ("MemberName", "-".into()),
            ("MemberSid", account.sid()),
            ("TargetUserName", "Administrators".into()),
            ("TargetDomainName", "Builtin".into()),
            ("TargetSid", Value::Sid(parse_sid("S-1-5-32-544"))),
        ];
        fields.extend(security_subject(user));
        fields.push(("PrivilegeList", "-".into()));
        self.push(4732, 0, 13826, time, fields);
    }

    /// 1102, the Security log was cleared: the first event of the log from then on.
    pub fn cleared(&mut self, time: Timestamp, user: &User) {
        self.push(1102, 0, 104, time, Vec::new());
        let fields = security_subject(user).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let event = self.last();
        event.provider = "Microsoft-Windows-Eventlog".into();
        event.provider_guid = Some(parse_guid("fc65ddd8-d6ef-4962-83d5-6e5cfe9ce148"));
        event.keywords = 0x4020_0000_0000_0000;
        event.level = 4;
        event.payload = Payload::UserData {
            element: "LogFileCleared".into(),
            namespace: "http://manifests.microsoft.com/win/2004/08/windows/eventlog".into(),
            fields,
        };
    }

    /// 7036, a service entered a state.
    pub fn service_state(&mut self, time: Timestamp, service: &str, state: &str) {
        self.push(7036, 0, 0, time, vec![("param1", service.into()), ("param2", state.into())]);
    }

    /// 7045, a service was installed.
    pub fn new_service(&mut self, time: Timestamp, user: &User, name: &str, path: &str, kind: &str) {
        let start = if kind.starts_with("kernel") { "system start" } else { "demand start" };
        let account = if kind.starts_with("kernel") { "" } else { "LocalSystem" };
        self.push(
            7045,
            0,
            0,
            time,
            vec![
                ("ServiceName", name.into()),
                ("ImagePath", path.into()),
                ("ServiceType", kind.into()),
                ("StartType", start.into()),
                ("AccountName", account.into()),
            ],
        );
        self.last().user_sid = Some(parse_sid(user.sid));
    }

    /// 4104, a script block.
    pub fn script_block(&mut self, time: Timestamp, process: &Process, text: &str, path: &str) {
        let id = dashed(&Random::from_text(text).hex(32));
        self.push(
            4104,
            1,
            2,
            time,
            vec![
                ("MessageNumber", Value::Int32(1)),
                ("MessageTotal", Value::Int32(1)),
                ("ScriptBlockText", text.into()),
                ("ScriptBlockId", id.into()),
                ("Path", path.into()),
            ],
        );
        let event = self.last();
        event.level = 5;
        event.process_id = process.pid;
        event.thread_id = process.pid + 12;
        event.user_sid = Some(parse_sid(process.user.sid));
    }

    /// 4103, a command was run; the module log.
    pub fn command(&mut self, time: Timestamp, process: &Process, command: &str, parameters: &[(&str, &str)]) {
        let mut payload = format!("CommandInvocation({command}): \"{command}\"\r\n");
        for (name, value) in parameters {
            payload.push_str(&format!("ParameterBinding({command}): name=\"{name}\"; value=\"{value}\"\r\n"));
        }
        let context = self.command_context(process, command);
        let fields = vec![("ContextInfo", context.into()), ("UserData", "".into()), ("Payload", payload.into())];
        self.push(4103, 1, 106, time, fields);
        let event = self.last();
        event.opcode = 20;
        event.process_id = process.pid;
        event.thread_id = process.pid + 12;
        event.user_sid = Some(parse_sid(process.user.sid));
    }

    fn command_context(&self, process: &Process, command: &str) -> String {
        let mut session = Random::from_text(&process.guid.to_string());
        let (host, runspace) = (dashed(&session.hex(32)), dashed(&session.hex(32)));
        let sequence = (self.events.len() * 2 + 15).to_string();
        let user = process.user.account();
        [
            ("Severity", "Informational"),
            ("Host Name", "ConsoleHost"),
            ("Host Version", "5.1.19041.4355"),
            ("Host ID", &host),
            ("Host Application", &process.command_line),
            ("Engine Version", "5.1.19041.4355"),
            ("Runspace ID", &runspace),
            ("Pipeline ID", "1"),
            ("Command Name", command),
            ("Command Type", "Cmdlet"),
            ("Script Name", ""),
            ("Command Path", ""),
            ("Sequence Number", &sequence),
            ("User", &user),
            ("Connected User", ""),
            ("Shell ID", "Microsoft.PowerShell"),
        ]
        .map(|(name, value)| format!("        {name} = {value}\r\n"))
        .concat()
    }
}

/// Thirty-two digits in the groups of a GUID.
fn dashed(hex: &str) -> String {
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// The account that did it.
fn security_subject(user: &User) -> Vec<(&'static str, Value)> {
    vec![
        ("SubjectUserSid", user.sid()),
        ("SubjectUserName", user.name.into()),
        ("SubjectDomainName", user.domain.into()),
        ("SubjectLogonId", Value::Hex64(user.logon_id)),
    ]
}
