//! Reads the values of options.

use lfs_image::image::{Free, Journal, Uuid};
use lfs_image::tree::Timestamp;

use crate::size;

/// Bytes of a sector; disks consist of them.
const SECTOR: u64 = 512;
/// Bytes of a block of the filesystem; journals consist of them.
const BLOCK: u64 = 4096;

pub(crate) fn size(text: &str) -> Result<u64, String> {
    size::parse(text)
}

pub(crate) fn nonzero_size(text: &str) -> Result<u64, String> {
    match size(text)? {
        0 => Err("it can't be 0".to_owned()),
        bytes => Ok(bytes),
    }
}

pub(crate) fn disk_size(text: &str) -> Result<u64, String> {
    let bytes = nonzero_size(text)?;
    if !bytes.is_multiple_of(SECTOR) {
        return Err(format!("{bytes} bytes are not whole sectors of {SECTOR}"));
    }
    Ok(bytes)
}

pub(crate) fn free(text: &str) -> Result<Free, String> {
    let Some(percent) = text.strip_suffix('%') else { return size(text).map(Free::Bytes) };
    match number(percent) {
        Some(percent) if percent <= 90 => {
            Ok(Free::Percent(u8::try_from(percent).map_err(|e| e.to_string())?))
        }
        Some(_) => Err("at most 90% can be free".to_owned()),
        None => Err(format!("`{percent}` is not a whole number of percent")),
    }
}

/// A percentage with up to two decimals, in hundredths.
pub(crate) fn reserved(text: &str) -> Result<u16, String> {
    let percent = text.strip_suffix('%').unwrap_or(text);
    let (whole, fraction) = percent.split_once('.').unwrap_or((percent, "0"));
    let hundredths = match (number(whole), number(fraction), fraction.len()) {
        (Some(whole), Some(tenths), 1) => whole.saturating_mul(100).saturating_add(tenths * 10),
        (Some(whole), Some(hundredths), 2) => whole.saturating_mul(100).saturating_add(hundredths),
        _ => return Err("it takes a percentage such as 5, 0.5 or 0.25".to_owned()),
    };
    match u16::try_from(hundredths) {
        Ok(hundredths) if hundredths <= 5000 => Ok(hundredths),
        _ => Err("at most 50 percent can be reserved".to_owned()),
    }
}

pub(crate) fn journal(text: &str) -> Result<Journal, String> {
    match text {
        "auto" => return Ok(Journal::Auto),
        "none" => return Ok(Journal::None),
        _ => {}
    }
    let bytes = size(text)?;
    if bytes < 4 << 20 || !bytes.is_multiple_of(BLOCK) {
        return Err(format!("{bytes} bytes: a journal has at least 4 MiB and consists of blocks of 4 KiB"));
    }
    Ok(Journal::Blocks(bytes / BLOCK))
}

pub(crate) fn label(text: &str) -> Result<String, String> {
    if text.len() > 16 {
        return Err(format!("it has {} bytes, and ext4 holds 16", text.len()));
    }
    Ok(text.to_owned())
}

pub(crate) fn uuid(text: &str) -> Result<Uuid, String> {
    text.parse().map_err(|error: lfs_image::Error| error.to_string())
}

/// Seconds since 1970, with or without `@`.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    let seconds = text.strip_prefix('@').unwrap_or(text);
    let time = seconds.parse().map(Timestamp::from_secs).map_err(|_| {
        format!("`{text}` is not a number of seconds since 1970 (`date -d ... +%s` gives it)")
    })?;
    if time.clamped() != time {
        return Err("ext4 holds times from 1901 to 2446".to_owned());
    }
    Ok(time)
}

/// Digits alone, no sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages() {
        assert_eq!(free("20%"), Ok(Free::Percent(20)));
        assert_eq!(free("0%"), Ok(Free::Percent(0)));
        assert_eq!(free("512M"), Ok(Free::Bytes(512 << 20)));
        for bad in ["91%", "%", "-1%", "+1%", "2.5%", "20%%", "99999999999999999999%", "half"] {
            assert!(free(bad).is_err(), "{bad}");
        }
        for (text, hundredths) in
            [("5", 500), ("0", 0), ("0.5", 50), ("0.25%", 25), ("50", 5000), ("1.05", 105)]
        {
            assert_eq!(reserved(text), Ok(hundredths));
        }
        for bad in ["", ".", "5.", ".5", "50.01", "51", "-1", "1.234", "1e1", "18446744073709551615", "five"]
        {
            assert!(reserved(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_rest() {
        assert_eq!(journal("auto"), Ok(Journal::Auto));
        assert_eq!(journal("none"), Ok(Journal::None));
        assert_eq!(journal("4M"), Ok(Journal::Blocks(1024)));
        assert!(journal("3M").is_err() && journal("4194305").is_err() && journal("some").is_err());
        assert_eq!(time("@0"), Ok(Timestamp::default()));
        assert_eq!(time("-5"), Ok(Timestamp::from_secs(-5)));
        assert!(time("").is_err() && time("now").is_err() && time("99999999999").is_err());
        assert!(label("0123456789abcdef").is_ok() && label("0123456789abcdefg").is_err());
        assert!(disk_size("1000").is_err() && disk_size("0").is_err() && disk_size("1M").is_ok());
        assert!(uuid("1234").is_err());
    }
}
