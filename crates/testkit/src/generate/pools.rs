//! The values that events and literals are drawn from.

/// Categories.
pub const CATEGORIES: &[&str] = &["process", "network", "file"];

/// Actions: few, so that sequences have something to find.
pub const ACTIONS: &[&str] = &["a", "b", "c"];

/// Types: those that begin and end a process, and another.
pub const TYPES: &[&str] = &["start", "start", "end", "info"];

/// Ids of processes and parents: few, so that processes relate.
pub const PROCESSES: &[&str] = &["p1", "p2", "p3", "p4"];

/// Hosts: few, so that join keys meet.
pub const HOSTS: &[&str] = &["h1", "h2"];

/// Texts with case, width, look-alikes of other types, and pattern characters.
pub const TEXTS: &[&str] = &[
    "",
    "a",
    "A",
    "b",
    "cmd.exe",
    "CMD.EXE",
    "cMd.exe",
    "mshta.exe",
    "C:\\Windows\\System32\\cmd.exe",
    "cmd.exe /c \"whoami\"",
    "a*b",
    "a?b",
    "aXb",
    "axb",
    "line one\nline two",
    "é",
    "É",
    "e\u{301}",
    "ß",
    "ẞ",
    "straße",
    "STRASSE",
    "İ",
    "i",
    "ı",
    "I",
    "ſ",
    "s",
    "S",
    "\u{212a}",
    "k",
    "K",
    "Σ",
    "σ",
    "ς",
    "😀",
    "x😀y",
    "𐐀",
    "𐐨",
    "\u{202e}abc",
    "\0",
    "true",
    "false",
    "TRUE",
    "null",
    "0",
    "5",
    "-5",
    "+5",
    " 5 ",
    "5.0",
    "05",
    "5.9",
    "-5.9",
    "5e0",
    "1e400",
    "0x1f",
    "1f",
    "inf",
    "NaN",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "10.0.0.1",
    "::ffff:10.0.0.1",
    "::1",
    "2001:db8::1",
    "10.0.0.0/8",
    "2024-01-02T03:04:05.678Z",
    "2024-01-02",
    "1704164645678",
];

/// Patterns for `:` and `like`.
pub const WILDCARDS: &[&str] = &[
    "*", "?", "", "**", "*?", "??", "a*", "*b", "a?b", "A*B", "*cmd*", "*.EXE", "c?d.exe", "*\\*", "*\n*", "É*", "?É",
    "ſ", "*ß*", "ı*", "\u{212a}", "5*", "*0*", "t*e", "*a*b*c*", "x?y", "x??y", "𐐀", "10.*",
];

/// Lucene expressions, all of them well-formed.
pub const REGEXES: &[&str] = &[
    "",
    ".*",
    ".",
    "c.d\\.exe",
    "[a-c]+.*",
    "[^a-c]+",
    "a|b",
    "(a|b|cmd)(\\.exe)?",
    "~(.*cmd.*)",
    "~a*",
    ".*cmd.*&.*exe.*",
    "<1-20>",
    "<01-20>",
    "-?<0-9>(\\.<0-9>)?",
    "\"a*b\"",
    "@",
    "#",
    "a{0,2}",
    "[A-Z]{3}\\..*",
    ".{2,}",
    "\\d+",
    "\\w+\\.\\w+",
    "\\S*",
    "^a$",
    "é|ß",
    "[à-ÿ]+",
    "x.y",
    "()",
];

/// Whole numbers around the edges.
pub const INTS: &[i64] = &[0, 1, 2, 5, -1, -5, 31, 100, 1 << 53, (1 << 53) + 1, i64::MAX, i64::MIN, 1_704_164_645_678];

/// Doubles around the edges; all finite.
pub const DOUBLES: &[f64] = &[
    0.0,
    -0.0,
    0.5,
    2.5,
    5.0,
    -5.9,
    5.9,
    1e16,
    9_007_199_254_740_992.0,
    9_223_372_036_854_775_808.0,
    1e30,
    1e-7,
    1e308,
];

/// Addresses, and texts that are none.
pub const ADDRESSES: &[&str] =
    &["10.0.0.1", "10.1.2.3", "192.168.0.1", "::ffff:10.0.0.1", "::1", "2001:db8::1", "fe80::1", "255.255.255.255"];

/// Address blocks.
pub const BLOCKS: &[&str] = &[
    "10.0.0.0/8",
    "10.0.0.1/32",
    "0.0.0.0/0",
    "::/0",
    "2001:db8::/32",
    "::ffff:10.0.0.0/104",
    "192.168.0.0/31",
    "10.1.2.3",
];

/// Dates in every spelling.
pub const DATES: &[&str] = &[
    "2024-01-02T03:04:05.678Z",
    "2024-01-02T03:04:05.678901234Z",
    "2024-01-02T03:04:05.6789012345Z",
    "2024-01-02 03:04:05.678",
    "2024-01-02T04:04:05,678+01:00",
    "2024-01-02T03:04",
    "2024-01-02",
    "2024-02-29T23:59:60Z",
    "1704164645678",
    "1960-01-01T00:00:00-0130",
];
