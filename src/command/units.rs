//! Sizes, durations and moments, as people write and read them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const BYTE_UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

const MS_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// A number and its unit.
fn parse(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let names =
        || units.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect::<Vec<_>>().join(", ");
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let number: u64 = digits.parse().map_err(|_| format!("a whole number and a unit ({})", names()))?;
    let unit = unit.trim_start();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit).ok_or_else(|| {
        if unit.is_empty() {
            format!("its unit is missing: {}", names())
        } else {
            format!("the unit is one of {}", names())
        }
    })?;
    number.checked_mul(*factor).ok_or_else(|| "too large".to_owned())
}

/// A size such as `4GiB`, `500MB` or `1048576`.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    parse(text, &BYTE_UNITS)
}

/// A duration such as `90s`, `250ms`, `5m`, `2h` or `7d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    parse(text, &MS_UNITS).map(Duration::from_millis)
}

/// A size for people: three digits of the largest unit that it has one of.
pub(crate) fn show_bytes(bytes: u64) -> String {
    let unit = BYTE_UNITS[2..6].iter().rev().find(|(_, factor)| bytes >= *factor);
    match unit {
        None => format!("{bytes} B"),
        Some((name, factor)) if bytes.is_multiple_of(*factor) => format!("{} {name}", bytes / factor),
        Some((name, factor)) => {
            let number = bytes as f64 / *factor as f64;
            let digits = if number < 10.0 { 2 } else { usize::from(number < 100.0) };
            format!("{number:.digits$} {name}")
        }
    }
}

/// A duration for people, in its largest unit and the one below.
pub(crate) fn show_ms(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0 => format!("{ms} ms"),
        1..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// A moment for people, in UTC: `2026-12-01T00:44:31.250Z`.
pub(crate) fn show_moment(unix_ms: u64) -> String {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    // Years begin in March, so that a leap day is the last of its year: 400 of them have 146,097 days. This is the algorithm
    // `civil_from_days` of Howard Hinnant for days since 1970.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1_000)
}

/// Now, as this machine's clock has it, in milliseconds since 1970.
pub(crate) fn now_unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_read_with_their_units() {
        assert_eq!(parse_bytes("4GiB"), Ok(4 << 30));
        assert_eq!(parse_bytes("4 GiB"), Ok(4 << 30));
        assert_eq!(parse_bytes("500MB"), Ok(500_000_000));
        assert_eq!(parse_bytes("0"), Ok(0));
        assert_eq!(parse_bytes("1048576"), Ok(1 << 20));
        for wrong in ["", "GiB", "4gib", "-1", "1.5GiB", "4G", "99999999999TiB"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7_200)));
        for wrong in ["", "90", "s", "1w", "1.5s", "-1s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_durations_and_moments_are_shown_for_people() {
        assert_eq!(show_bytes(0), "0 B");
        assert_eq!(show_bytes(1_023), "1023 B");
        assert_eq!(show_bytes(32 << 20), "32 MiB");
        assert_eq!(show_bytes((32 << 20) + (1 << 19)), "32.5 MiB");
        assert_eq!(show_bytes(u64::MAX), "16777216 TiB");
        assert_eq!(show_ms(999), "999 ms");
        assert_eq!(show_ms(61_999), "1 min 1 s");
        assert_eq!(show_ms(90_000_000), "1 d 1 h");
        // Known moments: the epoch, leap days of a century that has one and of a year after one that has none.
        assert_eq!(show_moment(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(show_moment(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(show_moment(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
        assert_eq!(show_moment(1_796_085_871_250), "2026-12-01T00:44:31.250Z");
    }
}
