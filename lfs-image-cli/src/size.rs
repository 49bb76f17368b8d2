//! Sizes as people write them: `8G` and `8GiB` are 2^30 bytes each, `8GB` is 10^9.

use lfs_image::{Free, Journal};

/// `512M` or `20%`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FreeSize(pub(crate) Free);

/// `auto`, `none` or a size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JournalSize(pub(crate) Journal);

/// Bytes.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 =
        number.parse().map_err(|_| format!("`{text}` doesn't begin with a whole number of bytes"))?;
    let unit = unit.trim().to_ascii_lowercase();
    let power = |base: u64, letter: &str| {
        let exponent = "kmgtpe".find(letter)?;
        base.checked_pow(u32::try_from(exponent).ok()? + 1)
    };
    let factor = match unit.as_str() {
        "" | "b" => Some(1),
        _ if unit.len() == 1 => power(1024, &unit),
        _ if unit.len() == 3 && unit.ends_with("ib") => power(1024, &unit[..1]),
        _ if unit.len() == 2 && unit.ends_with('b') => power(1000, &unit[..1]),
        _ => None,
    };
    let factor = factor
        .ok_or_else(|| format!("`{unit}` is no unit: use K, M, G, T (powers of 1024) or KB, MB, GB, TB"))?;
    number.checked_mul(factor).ok_or_else(|| format!("`{text}` is more than 16 EiB"))
}

/// Free space: a size or a percentage.
pub(crate) fn parse_free(text: &str) -> Result<FreeSize, String> {
    match text.strip_suffix('%') {
        Some(percent) => match percent.parse() {
            Ok(percent @ 0..=90) => Ok(FreeSize(Free::Percent(percent))),
            _ => Err(format!("`{text}` is not between 0% and 90%")),
        },
        None => parse(text).map(|bytes| FreeSize(Free::Bytes(bytes))),
    }
}

/// A percentage with up to two decimals, in hundredths.
pub(crate) fn parse_percent(text: &str) -> Result<u16, String> {
    let bad = || format!("`{text}` is not a percentage between 0 and 50, with up to two decimals");
    let (whole, part) =
        text.strip_suffix('%').unwrap_or(text).split_once('.').unwrap_or((text.trim_end_matches('%'), ""));
    if whole.is_empty() || part.len() > 2 || !whole.bytes().chain(part.bytes()).all(|c| c.is_ascii_digit()) {
        return Err(bad());
    }
    let hundredths: u16 = format!("{whole}{part:0<2}").parse().map_err(|_| bad())?;
    if hundredths > 5000 { Err(bad()) } else { Ok(hundredths) }
}

/// A journal.
pub(crate) fn parse_journal(text: &str) -> Result<JournalSize, String> {
    Ok(JournalSize(match text {
        "auto" => Journal::Auto,
        "none" => Journal::None,
        _ => Journal::Blocks(parse(text)?.div_ceil(4096)),
    }))
}

/// Bytes for a person.
pub(crate) fn show(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes;
    let mut unit = 0;
    let mut rest = 0;
    while value >= 1024 {
        rest = value % 1024;
        value /= 1024;
        unit += 1;
    }
    format!("{value}.{} {}", rest * 10 / 1024, UNITS[unit - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("8G", 8 << 30),
            ("8g", 8 << 30),
            ("8GiB", 8 << 30),
            ("8GB", 8_000_000_000),
            ("3 M", 3 << 20),
            ("1k", 1024),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for bad in ["", "G", "-1", "1.5G", "8X", "8GiBB", "99999999999999999999", "17E", "8 GiBs"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn percentages() {
        assert_eq!(
            (parse_percent("5"), parse_percent("0.5"), parse_percent("12.34%")),
            (Ok(500), Ok(50), Ok(1234))
        );
        for bad in ["", "51", "1.234", "-1", "x", "."] {
            assert!(parse_percent(bad).is_err(), "{bad}");
        }
        assert!(parse_free("91%").is_err() && parse_free("x%").is_err());
    }

    #[test]
    fn sizes_for_people() {
        assert_eq!([show(0), show(1023), show(1536), show(5 << 30)], ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
    }
}
