//! The parts of a DNS name by the public suffix list.

use crate::document::Document;

/// Names longer than this are no DNS names.
const MAX_NAME: usize = 255;

/// Writes `dns.question.registered_domain`, `top_level_domain` and `subdomain` of a name.
pub fn write_question<'a>(name: &'a str, document: &mut Document<'a>) {
    if name.len() > MAX_NAME {
        return;
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let Some(registered) = psl::domain_str(name) else { return };
    document.set("dns.question.registered_domain", registered);
    if let Some(suffix) = psl::suffix_str(name) {
        document.set("dns.question.top_level_domain", suffix);
    }
    if let Some(subdomain) = name[..name.len() - registered.len()].strip_suffix('.') {
        document.set("dns.question.subdomain", subdomain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        for (name, registered, suffix, subdomain) in [
            ("www.example.co.uk", Some("example.co.uk"), Some("co.uk"), Some("www")),
            ("example.com", Some("example.com"), Some("com"), None),
            ("com", None, None, None),
            ("", None, None, None),
            ("...", None, None, None),
        ] {
            let mut document = Document::new();
            write_question(name, &mut document);
            assert_eq!(document.text("dns.question.registered_domain"), registered, "{name}");
            assert_eq!(document.text("dns.question.top_level_domain"), suffix, "{name}");
            assert_eq!(document.text("dns.question.subdomain"), subdomain, "{name}");
        }
    }
}
