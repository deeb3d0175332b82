//! What is known of each function, as data: the parser, the checks, the documentation and editors read it.

use crate::ast::Function;

/// A function's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Which function.
    pub function: Function,
    /// The documented spelling.
    pub name: &'static str,
    /// The parameters; optional ones come last.
    pub params: &'static [Param],
    /// Whether the last parameter may be given any number of times, at least once.
    pub variadic: bool,
    /// What comes out.
    pub returns: Returns,
    /// Whether `name~(…)`, which ignores case, exists.
    pub fold: bool,
    /// One line on what it does.
    pub doc: &'static str,
}

/// A parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name in messages and documentation.
    pub name: &'static str,
    /// What it takes.
    pub kind: ParamKind,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it must be a constant.
    pub constant: bool,
}

/// What a parameter takes. `null` is taken everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// An IP address.
    Ip,
    /// An address block such as `10.0.0.0/8`.
    Cidr,
    /// Anything.
    Any,
}

impl ParamKind {
    /// The name shown to users.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Ip => "ip",
            Self::Cidr => "address block",
            Self::Any => "any value",
        }
    }
}

/// What a function returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returns {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// A number: whole where all arguments are.
    Number,
    /// `true` or `false`.
    Boolean,
}

impl Signature {
    /// The fewest arguments.
    pub fn min_args(&self) -> usize {
        self.params.iter().filter(|param| !param.optional).count()
    }

    /// The most arguments; `None` where there is no most.
    pub fn max_args(&self) -> Option<usize> {
        (!self.variadic).then_some(self.params.len())
    }

    /// The parameter that the argument at `index` fills.
    pub fn param(&self, index: usize) -> Option<&'static Param> {
        match self.params.get(index) {
            None if self.variadic => self.params.last(),
            found => found,
        }
    }

    /// The call as documentation shows it: `substring(source, start[, end])`.
    pub fn usage(&self) -> String {
        let mut usage = format!("{}(", self.name);
        for (index, param) in self.params.iter().enumerate() {
            if param.optional {
                usage.push('[');
            }
            if index > 0 {
                usage.push_str(", ");
            }
            usage.push_str(param.name);
            if param.optional {
                usage.push(']');
            }
        }
        usage.push_str(if self.variadic { ", …)" } else { ")" });
        usage
    }
}

const fn param(name: &'static str, kind: ParamKind) -> Param {
    Param { name, kind, optional: false, constant: false }
}

const fn optional(name: &'static str, kind: ParamKind) -> Param {
    Param { optional: true, ..param(name, kind) }
}

const fn constant(name: &'static str, kind: ParamKind) -> Param {
    Param { constant: true, ..param(name, kind) }
}

const NUMBERS: &[Param] = &[param("left", ParamKind::Number), param("right", ParamKind::Number)];
const TEXT_AND_PART: &[Param] = &[param("source", ParamKind::String), param("part", ParamKind::String)];

const fn arithmetic(function: Function, name: &'static str, doc: &'static str) -> Signature {
    Signature { function, name, params: NUMBERS, variadic: false, returns: Returns::Number, fold: false, doc }
}

const fn text_test(function: Function, name: &'static str, doc: &'static str) -> Signature {
    Signature { function, name, params: TEXT_AND_PART, variadic: false, returns: Returns::Boolean, fold: true, doc }
}

/// Every function, in alphabetical order.
pub const SIGNATURES: [Signature; 17] = [
    arithmetic(Function::Add, "add", "The sum of two numbers, as `+`."),
    Signature {
        function: Function::Between,
        name: "between",
        params: &[
            param("source", ParamKind::String),
            param("left", ParamKind::String),
            param("right", ParamKind::String),
            optional("greedy", ParamKind::Boolean),
        ],
        variadic: false,
        returns: Returns::String,
        fold: true,
        doc: "The text after the first `left` up to the next `right`, or up to the last one where `greedy` is true.",
    },
    Signature {
        function: Function::CidrMatch,
        name: "cidrMatch",
        params: &[param("source", ParamKind::Ip), constant("block", ParamKind::Cidr)],
        variadic: true,
        returns: Returns::Boolean,
        fold: false,
        doc: "Whether the address lies in one of the blocks.",
    },
    Signature {
        function: Function::Concat,
        name: "concat",
        params: &[param("value", ParamKind::Any)],
        variadic: true,
        returns: Returns::String,
        fold: false,
        doc: "The values as text, one after the other; null if any of them is null.",
    },
    arithmetic(Function::Divide, "divide", "The quotient of two numbers, as `/`."),
    text_test(Function::EndsWith, "endsWith", "Whether the text ends with the part."),
    Signature {
        function: Function::IndexOf,
        name: "indexOf",
        params: &[
            param("source", ParamKind::String),
            param("part", ParamKind::String),
            optional("start", ParamKind::Integer),
        ],
        variadic: false,
        returns: Returns::Integer,
        fold: true,
        doc: "Where the part first occurs at or after `start`, counted from 0; null if it does not.",
    },
    Signature {
        function: Function::Length,
        name: "length",
        params: &[param("source", ParamKind::String)],
        variadic: false,
        returns: Returns::Integer,
        fold: false,
        doc: "The length of the text in UTF-16 code units.",
    },
    arithmetic(Function::Modulo, "modulo", "The remainder of a division, as `%`."),
    arithmetic(Function::Multiply, "multiply", "The product of two numbers, as `*`."),
    Signature {
        function: Function::Number,
        name: "number",
        params: &[param("source", ParamKind::String), optional("base", ParamKind::Integer)],
        variadic: false,
        returns: Returns::Number,
        fold: false,
        doc: "The number that the text spells, in base 10 or the given base; `0x` means base 16.",
    },
    text_test(Function::StartsWith, "startsWith", "Whether the text begins with the part."),
    Signature {
        function: Function::String,
        name: "string",
        params: &[param("value", ParamKind::Any)],
        variadic: false,
        returns: Returns::String,
        fold: false,
        doc: "The value as text.",
    },
    text_test(Function::StringContains, "stringContains", "Whether the part occurs in the text."),
    Signature {
        function: Function::Substring,
        name: "substring",
        params: &[
            param("source", ParamKind::String),
            param("start", ParamKind::Integer),
            optional("end", ParamKind::Integer),
        ],
        variadic: false,
        returns: Returns::String,
        fold: false,
        doc: "The text from `start` up to but without `end`; negative positions count from the end.",
    },
    arithmetic(Function::Subtract, "subtract", "The difference of two numbers, as `-`."),
    Signature {
        function: Function::Wildcard,
        name: "wildcard",
        params: &[param("source", ParamKind::String), constant("pattern", ParamKind::String)],
        variadic: true,
        returns: Returns::Boolean,
        fold: true,
        doc: "Whether the whole text matches one of the patterns, as `like`.",
    },
];

/// Functions of the older Python EQL that Elasticsearch does not have, and what to write instead.
const RETIRED: &[(&str, Option<&str>)] = &[
    ("arrayContains", Some("a predicate holds if any value of the field satisfies it: write `field == \"value\"`")),
    ("arrayCount", None),
    ("arraySearch", Some("a predicate holds if any value of the field satisfies it: test the field itself")),
    ("match", Some("write `field regex \"…\"`")),
    ("matchLite", Some("write `field regex \"…\"`")),
    ("safe", None),
];

impl Function {
    /// Every function, in alphabetical order.
    pub fn all() -> impl Iterator<Item = Self> {
        SIGNATURES.iter().map(|signature| signature.function)
    }

    /// The function's shape.
    pub fn signature(self) -> &'static Signature {
        // The table is in the order of the enum, which a test holds it to.
        &SIGNATURES[self as usize]
    }

    /// The documented spelling.
    pub fn name(self) -> &'static str {
        self.signature().name
    }

    /// The function of this name; case does not matter.
    pub fn from_name(name: &str) -> Option<Self> {
        SIGNATURES.iter().find(|signature| signature.name.eq_ignore_ascii_case(name)).map(|found| found.function)
    }

    /// The function whose name is nearest, where one is near enough to be a likely misspelling.
    pub fn nearest(name: &str) -> Option<Self> {
        let names = SIGNATURES.iter().map(|signature| signature.name);
        crate::nearest::nearest(name, names).and_then(Self::from_name)
    }
}

/// For a function that only the older Python EQL had: its name there, and what to write instead.
pub(crate) fn retired(name: &str) -> Option<(&'static str, Option<&'static str>)> {
    RETIRED.iter().find(|(retired, _)| retired.eq_ignore_ascii_case(name)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_in_the_order_of_the_enum() {
        for (index, signature) in SIGNATURES.iter().enumerate() {
            assert_eq!(signature.function as usize, index, "{}", signature.name);
            assert_eq!(signature.function.signature(), signature);
            assert_eq!(Function::from_name(&signature.name.to_uppercase()), Some(signature.function));
        }
    }

    #[test]
    fn optional_parameters_come_last() {
        for signature in &SIGNATURES {
            assert!(signature.params.is_sorted_by_key(|param| param.optional), "{}", signature.name);
            assert!(!signature.params.is_empty());
        }
    }

    #[test]
    fn shows_usage() {
        assert_eq!(Function::Substring.signature().usage(), "substring(source, start[, end])");
        assert_eq!(Function::CidrMatch.signature().usage(), "cidrMatch(source, block, …)");
    }

    #[test]
    fn suggests_near_names() {
        assert_eq!(Function::nearest("wildcrd"), Some(Function::Wildcard));
        assert_eq!(Function::nearest("STARTWITH"), Some(Function::StartsWith));
        assert_eq!(Function::nearest("xyzzy"), None);
    }
}
