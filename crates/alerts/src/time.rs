//! Points in time as alert documents write them.

use jiff::Timestamp;
use serde_json::{Number, Value};

/// ISO 8601 in UTC with milliseconds, or with micro- or nanoseconds where the time has them.
pub(crate) fn format(time_ns: i64) -> String {
    let precision = match time_ns {
        ns if ns % 1_000_000 == 0 => 3,
        ns if ns % 1_000 == 0 => 6,
        _ => 9,
    };
    match Timestamp::from_nanosecond(i128::from(time_ns)) {
        Ok(timestamp) => format!("{timestamp:.precision$}"),
        // i64 nanoseconds span the years 1677 to 2262, all of which a Timestamp can hold.
        Err(_) => time_ns.to_string(),
    }
}

/// A document's own `@timestamp`: text as it is, a number as milliseconds since the epoch.
pub(crate) fn of_document(value: &Value) -> Option<Value> {
    match value {
        Value::String(_) => Some(value.clone()),
        Value::Number(number) => milliseconds(number).map(|time_ns| Value::String(format(time_ns))),
        Value::Array(items) => items.iter().find_map(of_document),
        _ => None,
    }
}

fn milliseconds(number: &Number) -> Option<i64> {
    match number.as_i64() {
        Some(ms) => ms.checked_mul(1_000_000),
        None => {
            let ns = number.as_f64()? * 1e6;
            (ns.abs() < 9.2e18).then_some(ns as i64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn precision_follows_the_time() {
        assert_eq!(format(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(format(1_700_000_000_123_000_000), "2023-11-14T22:13:20.123Z");
        assert_eq!(format(1_700_000_000_123_456_000), "2023-11-14T22:13:20.123456Z");
        assert_eq!(format(1_700_000_000_123_456_789), "2023-11-14T22:13:20.123456789Z");
        assert_eq!(format(i64::MIN), "1677-09-21T00:12:43.145224192Z");
        assert_eq!(format(i64::MAX), "2262-04-11T23:47:16.854775807Z");
    }

    #[test]
    fn documents_give_text_or_milliseconds() {
        assert_eq!(of_document(&json!("2026-01-02T03:04:05Z")), Some(json!("2026-01-02T03:04:05Z")));
        assert_eq!(of_document(&json!(1_700_000_000_123_i64)), Some(json!("2023-11-14T22:13:20.123Z")));
        assert_eq!(of_document(&json!(i64::MAX)), None);
        assert_eq!(of_document(&json!(1e300)), None);
        assert_eq!(of_document(&json!({})), None);
    }
}
