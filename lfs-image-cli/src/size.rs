//! Sizes as people write and read them.
//!
//! `8G` and `8GiB` are 8 × 2^30 bytes, `8GB` is 8 × 10^9, a plain number is bytes. Case doesn't matter.

use std::fmt;

/// The bytes that `text` means.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let number_len = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(number_len);
    let unit = unit.trim_start().to_ascii_lowercase();
    let factor = factor(&unit).ok_or_else(|| {
        format!("`{text}` is not a size: it takes a number and a unit, such as 512M, 8G, 8GiB (2^30) or 8GB (10^9)")
    })?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || (fraction.is_empty() && number.contains('.')) {
        return Err(format!("`{text}` is not a size: `{number}` is not a number"));
    }
    if fraction.len() > 9 || (!fraction.is_empty() && factor == 1) {
        return Err(format!("`{text}` is not a size: it has parts of bytes"));
    }
    let too_large = || format!("`{text}` is more than 16 EiB");
    let whole: u64 = whole.parse().map_err(|_| too_large())?;
    // At most nine digits of fraction and 60 bits of factor.
    let part = fraction.parse().unwrap_or(0u128) * u128::from(factor) / 10u128.pow(width(fraction));
    let bytes = u128::from(whole) * u128::from(factor) + part;
    u64::try_from(bytes).map_err(|_| too_large())
}

fn width(fraction: &str) -> u32 {
    u32::try_from(fraction.len()).unwrap_or(u32::MAX)
}

fn factor(unit: &str) -> Option<u64> {
    if matches!(unit, "" | "b") {
        return Some(1);
    }
    let (prefix, rest) = unit.split_at_checked(1)?;
    let power = "kmgtpe".find(prefix)?;
    let base: u64 = match rest {
        "" | "i" | "ib" => 1024,
        "b" => 1000,
        _ => return None,
    };
    base.checked_pow(u32::try_from(power).ok()? + 1)
}

/// Bytes for people: `512 B`, `1.9 GiB`, `64 MiB`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Human(pub(crate) u64);

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let bytes = self.0;
        if bytes < 1024 {
            return f.pad(&format!("{bytes} B"));
        }
        // The largest unit of which there is at least one after rounding to tenths.
        let mut unit = 0;
        while unit + 1 < UNITS.len() && tenths(bytes, unit) >= 10_240 {
            unit += 1;
        }
        let tenths = tenths(bytes, unit);
        let text = if tenths >= 1000 || (tenths >= 100 && tenths.is_multiple_of(10)) {
            format!("{} {}", (tenths + 5) / 10, UNITS[unit])
        } else {
            format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
        };
        f.pad(&text)
    }
}

fn tenths(bytes: u64, unit: usize) -> u128 {
    let size = 1u128 << (10 * (unit + 1));
    (u128::from(bytes) * 10 + size / 2) / size
}

/// A count with separators: `41,233`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count(pub(crate) u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::with_capacity(digits.len() + digits.len() / 3);
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512b", 512),
            ("8G", 8 << 30),
            ("8g", 8 << 30),
            ("8GiB", 8 << 30),
            ("8gib", 8 << 30),
            ("8Gi", 8 << 30),
            ("8GB", 8_000_000_000),
            ("8 GB", 8_000_000_000),
            ("1.5G", 3 << 29),
            ("0.1k", 102),
            ("64M", 64 << 20),
            ("2T", 2 << 40),
            ("15E", 15 << 60),
            ("18446744073709551615", u64::MAX),
            ("15.999999999E", 18_446_744_072_556_630_111),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            " ",
            "G",
            "-1",
            "+1",
            "1.",
            ".5G",
            "1..5G",
            "1.2.3G",
            "8X",
            "8GiBs",
            "8Gbit",
            "8bb",
            "8 G B",
            "0x10",
            "1e3",
            "1.5",
            "1_000",
            "8G ",
            " 8G",
            "٣G",
            "8Ğ",
            "16E",
            "18446744073709551616",
            "99999999999999999999999G",
            "1.0000000001G",
            "inf",
            "NaN",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("16E").unwrap_err().contains("more than 16 EiB"));
    }

    #[test]
    fn sizes_are_shown() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (64 << 20, "64 MiB"),
            (1021 << 20, "1021 MiB"),
            ((1 << 30) - 1, "1.0 GiB"),
            (4 << 30, "4.0 GiB"),
            (2_040_109_466, "1.9 GiB"),
            (99 << 29, "49.5 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(Human(bytes).to_string(), text);
        }
        assert_eq!(format!("{:>9}|{:<9}|", Human(64 << 20), Human(5)), "   64 MiB|5 B      |");
        for (n, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (41_233, "41,233"), (1_234_567, "1,234,567")]
        {
            assert_eq!(Count(n).to_string(), text);
        }
    }
}
