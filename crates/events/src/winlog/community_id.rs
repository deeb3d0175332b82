//! The Community ID of a network flow, version 1, seed 0.

use std::net::IpAddr;

use sha1::{Digest, Sha1};

use crate::document::{Document, Value};

/// The Community ID of the flow that the document's source, destination and transport name.
pub fn of(document: &Document<'_>) -> Option<String> {
    let end = |ip: &str, port: &str| {
        let ip: IpAddr = document.text(ip)?.parse().ok()?;
        let Some(Value::Int(port)) = document.get(port) else { return None };
        Some((ip, u16::try_from(*port).ok()?))
    };
    let source = end("source.ip", "source.port")?;
    let destination = end("destination.ip", "destination.port")?;
    let protocol = match document.text("network.transport")? {
        "tcp" => 6,
        "udp" => 17,
        "sctp" => 132,
        _ => return None,
    };
    let same_kind = source.0.is_ipv4() == destination.0.is_ipv4();
    same_kind.then(|| community_id(source, destination, protocol))
}

fn community_id(left: (IpAddr, u16), right: (IpAddr, u16), protocol: u8) -> String {
    let (low, high) = if left <= right { (left, right) } else { (right, left) };
    let mut hash = Sha1::new();
    hash.update([0, 0]);
    for (ip, _) in [low, high] {
        match ip {
            IpAddr::V4(v4) => hash.update(v4.octets()),
            IpAddr::V6(v6) => hash.update(v6.octets()),
        }
    }
    hash.update([protocol, 0]);
    hash.update(low.1.to_be_bytes());
    hash.update(high.1.to_be_bytes());
    format!("1:{}", base64(&hash.finalize()))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let six = (word >> (18 - 6 * digit)) as usize & 63;
            text.push(if digit <= chunk.len() { char::from(DIGITS[six]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_have_one_id() {
        let left = ("128.232.110.120".parse().unwrap(), 34_855);
        let right = ("66.35.250.204".parse().unwrap(), 80);
        let id = "1:LQU9qZlK+B5F3KDmev6m5PMibrg=";
        assert_eq!(community_id(left, right, 6), id);
        assert_eq!(community_id(right, left, 6), id);
    }

    #[test]
    fn base64_pads() {
        for (bytes, text) in [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v")] {
            assert_eq!(base64(bytes), text);
        }
    }
}
