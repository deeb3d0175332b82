//! Names of event data that the normalisers look for, as numbers: a name is looked up once a template, not once an
//! event.

macro_rules! names {
    ($($name:ident,)*) => {
        /// A name of event data.
        #[allow(non_camel_case_types, missing_docs)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Name {
            /// Any other name.
            #[default]
            Unknown,
            $($name,)*
        }

        /// The names, sorted.
        const NAMES: &[(&str, Name)] = &[$((stringify!($name), Name::$name),)*];
    };
}

names! {
    AccessList, AccessMask, AccountDomain, AccountName, Archived, AuditPolicyChanges, CallTrace, ClientAddress,
    ClientName, CommandLine, Company, ConnectedUser, ContextInfo, CurrentDirectory, Description, Destination,
    DestinationHostname, DestinationIp, DestinationIsIpv6, DestinationPort, DestinationPortName, Details, Device,
    Direction, EventType, FailureReason, FileVersion, Hash, Hashes, ID, Image, ImageLoaded, ImagePath, Initiated,
    IpAddress, IpPort, IsExecutable, LayerName, LogonID, LogonType, MemberName, MessageNumber, MessageTotal,
    NewProcessId, NewProcessName, NewSd, NewTargetUserName, NewUacValue, ObjectType, OldSd, OldTargetUserName,
    OriginalFileName, ParentCommandLine, ParentImage, ParentProcessGuid, ParentProcessId, ParentProcessName,
    ParentUser, Path, Payload, PipeName, PrivilegeList, ProcessGuid, ProcessId, ProcessName, Product, Protocol,
    QueryName, QueryResults, QueryStatus, RelativeTargetName, RuleName, RunspaceId, ScriptBlockId,
    ScriptBlockText, SequenceNumber, ServiceFileName, ServiceName, ServiceType, Severity, ShareLocalPath,
    ShareName, SidList, Signature, SignatureStatus, Signed, SourceHostname, SourceImage, SourceIp, SourceIsIpv6,
    SourcePort, SourcePortName, SourceProcessGUID, SourceProcessGuid, SourceProcessId, SourceThreadId, SourceUser,
    Status, SubStatus, SubcategoryGuid, SubjectDomainName, SubjectLogonId, SubjectUserName, SubjectUserSid,
    TargetDomainName, TargetFilename, TargetLogonId, TargetObject, TargetProcessGUID, TargetProcessGuid,
    TargetSid, TargetUserName, TargetUserSid, TdoAttributes, TdoDirection, TdoType, TicketEncryptionType,
    TicketOptions, Type, User, UserAccountControl, UtcTime, WorkstationName, param1, param2, param3, param4,
    param5,
}

impl Name {
    /// The number of this name.
    pub fn of(name: &str) -> Self {
        match NAMES.binary_search_by(|(known, _)| (*known).cmp(name)) {
            Ok(at) => NAMES[at].1,
            Err(_) => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found() {
        assert!(NAMES.is_sorted_by(|left, right| left.0 < right.0));
        for (name, number) in NAMES {
            assert_eq!(Name::of(name), *number);
        }
        assert_eq!(Name::of("image"), Name::Unknown);
        assert_eq!(Name::of(""), Name::Unknown);
    }
}
