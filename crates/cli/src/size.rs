//! Sizes on the command line.

/// Reads a number of bytes: `512M`, `2G`, `1.5GiB`, `1000000`. Units are powers of 1,024.
///
/// # Errors
/// A message that says what a size looks like.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let unknown = || "a size is a number with K, M, G or T behind it, such as 512M".to_owned();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start().to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return Err(unknown()),
    };
    let bytes = number.parse::<f64>().map_err(|_| unknown())? * f64::from(shift).exp2();
    // The cast saturates.
    Ok(bytes as usize)
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn reads_sizes() {
        let sizes = [("0", 0), ("12", 12), ("512M", 512 << 20), ("1.5GiB", 3 << 29), ("2 kb", 2_048), ("1t", 1 << 40)];
        for (text, bytes) in sizes {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "-1", "5X", "1.2.3G", "lots"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
