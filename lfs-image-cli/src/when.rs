//! Times as people read them.

use std::fmt;

use lfs_image::tree::Timestamp;

/// `2026-01-31 23:59:59.5`, in UTC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Utc(pub(crate) Timestamp);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Timestamp { sec, nsec } = self.0;
        let (days, second) = (sec.div_euclid(86_400), sec.rem_euclid(86_400));
        let (year, month, day) = date(days);
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}",
            second / 3600,
            second / 60 % 60,
            second % 60
        )?;
        if nsec > 0 {
            write!(f, ".{}", format!("{nsec:09}").trim_end_matches('0'))?;
        }
        Ok(())
    }
}

/// Days since 1970 as a date of the Gregorian calendar. Years begin in March, so that leap days come last; 400 years have
/// 146,097 days.
fn date(days: i64) -> (i64, i64, i64) {
    let since = days + 719_468;
    let (era, day) = (since.div_euclid(146_097), since.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    // Months from March on have 153 days in five.
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year + 400 * era + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_date_says() {
        // date -u -d @N '+%F %T'
        for (sec, nsec, text) in [
            (0, 0, "1970-01-01 00:00:00"),
            (-1, 500_000_000, "1969-12-31 23:59:59.5"),
            (951_782_399, 0, "2000-02-28 23:59:59"),
            (951_782_400, 1, "2000-02-29 00:00:00.000000001"),
            (4_107_542_400, 0, "2100-03-01 00:00:00"),
            (-2_147_483_648, 0, "1901-12-13 20:45:52"),
            (15_032_385_535, 999_999_999, "2446-05-10 22:38:55.999999999"),
        ] {
            assert_eq!(Utc(Timestamp { sec, nsec }).to_string(), text);
        }
    }
}
