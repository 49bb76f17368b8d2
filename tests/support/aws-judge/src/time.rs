//! The calendar, as far as the services' formats need it. UTC, years 1970 to 9999.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// `2026-11-23T12:00:00.000Z`.
pub(crate) fn iso(seconds: f64) -> String {
    let whole = whole(seconds);
    let (year, month, day) = civil(whole.div_euclid(86_400));
    let rest = whole.rem_euclid(86_400);
    let millis = whole_millis(seconds).rem_euclid(1000);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{millis:03}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// `20261123T120000Z` (as in `X-Amz-Date`), `2026-11-23T12:00:00Z` and `2026-11-23T12:00:00.000Z`.
pub(crate) fn parse(text: &str) -> Option<f64> {
    let text = text.strip_suffix('Z')?;
    let (text, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = match text.len() {
        15 if text.as_bytes()[8] == b'T' => text.replacen('T', "", 1),
        19 => {
            let marks: Vec<_> = [4, 7, 10, 13, 16].iter().map(|&at| text.as_bytes()[at]).collect();
            if marks != *b"--T::" {
                return None;
            }
            text.replace(['-', ':', 'T'], "")
        }
        _ => return None,
    };
    if digits.len() != 14 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| digits[from..to].parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(8, 10)?, number(10, 12)?, number(12, 14)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    f64::from(i32::try_from(seconds / 86_400).ok()?)
        .mul_add(86_400.0, f64::from(i32::try_from(seconds % 86_400).ok()?))
        .into()
}

#[allow(clippy::cast_possible_truncation, reason = "seconds of this millennium")]
fn whole(seconds: f64) -> i64 {
    seconds.floor() as i64
}

#[allow(clippy::cast_possible_truncation, reason = "milliseconds of this millennium")]
fn whole_millis(seconds: f64) -> i64 {
    (seconds * 1000.0).floor() as i64
}

/// Days since 1970 of a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The reverse.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_read_and_written() {
        // date -u -d @1795435200
        assert_eq!(iso(1_795_435_200.25), "2026-11-23T12:00:00.250Z");
        assert_eq!(parse("20261123T120000Z"), Some(1_795_435_200.0));
        assert_eq!(parse("2026-11-23T12:00:00.000Z"), Some(1_795_435_200.0));
        assert_eq!(parse("2024-02-29T00:00:00Z"), Some(1_709_164_800.0));
        for wrong in
            ["", "20261323T120000Z", "2026-11-23 12:00:00Z", "2026-11-23T12:00:00", "2026-11-23T12:00:0éZ"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
