//! Lengths of time as people write them: `90m`, `1.5h`, `1o1y`.
//!
//! Numbers with units, one after the other: `s m h d w`, `o` for months and `y` for years. Months and years are those
//! of the calendar (in UTC), counted from a given point in time, as in the original Tycoon's manual, section 4.2.

use thiserror::Error;

use crate::{TimeSpan, Timestamp};

const MICROS_PER_SECOND: u64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * 1_000_000;

/// Why a text is no length of time.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DurationError {
    /// Not numbers with units.
    #[error(
        "`{0}` is not a length of time; write numbers with units s, m, h, d, w, o (months) or y, such as `90m` or `1y6o`"
    )]
    NotADuration(String),
    /// A part of a month.
    #[error("`{0}` has a part of a month or year; use whole ones, or weeks and days")]
    PartOfMonth(String),
    /// More than can be written.
    #[error("`{0}` is too long")]
    TooLong(String),
}

/// Reads a length of time that begins at `now`.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_duration(text: &str, now: Timestamp) -> Result<TimeSpan, DurationError> {
    let shown = || text.chars().take(40).collect::<String>();
    let mut months: u64 = 0;
    let mut micros: u64 = 0;
    let mut rest = text;
    if rest.is_empty() || rest.len() > 100 {
        return Err(DurationError::NotADuration(shown()));
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number = Decimal::parse(&rest[..end]).ok_or_else(|| DurationError::NotADuration(shown()))?;
        let mut after = rest[end..].chars();
        let unit = after.next();
        rest = after.as_str();
        let seconds = match unit {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            Some('w') => 7 * 86_400,
            Some(unit @ ('o' | 'y')) => {
                let whole = number.whole().ok_or_else(|| DurationError::PartOfMonth(shown()))?;
                let more = whole.checked_mul(if unit == 'y' { 12 } else { 1 });
                months =
                    more.and_then(|more| months.checked_add(more)).ok_or_else(|| DurationError::TooLong(shown()))?;
                continue;
            }
            _ => return Err(DurationError::NotADuration(shown())),
        };
        let more = number.times(seconds * MICROS_PER_SECOND);
        micros = more.and_then(|more| micros.checked_add(more)).ok_or_else(|| DurationError::TooLong(shown()))?;
    }
    let later = months_later(now, months).ok_or_else(|| DurationError::TooLong(shown()))?;
    let total = later.since(now).micros().checked_add(micros).ok_or_else(|| DurationError::TooLong(shown()))?;
    Ok(TimeSpan::from_micros(total))
}

/// Writes a length of time so that [`parse_duration`] reads the same: `1d6h`, `0.5s`, `0s`.
pub fn show_duration(span: TimeSpan) -> String {
    let mut text = String::new();
    let mut micros = span.micros();
    for (unit, seconds) in [('w', 604_800), ('d', 86_400), ('h', 3_600), ('m', 60)] {
        let size = seconds * MICROS_PER_SECOND;
        if micros >= size {
            text.push_str(&format!("{}{unit}", micros / size));
            micros %= size;
        }
    }
    if micros > 0 || text.is_empty() {
        let (seconds, rest) = (micros / MICROS_PER_SECOND, micros % MICROS_PER_SECOND);
        let decimals = format!(".{rest:06}");
        text.push_str(&format!("{seconds}{}s", decimals.trim_end_matches('0').trim_end_matches('.')));
    }
    text
}

/// An exact decimal number without a sign.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decimal {
    digits: u64,
    /// Ten to the number of decimals.
    scale: u64,
}

impl Decimal {
    /// Reads `12` or `0.25`, of at most 18 digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let has_point = text.contains('.');
        if whole.is_empty() || !is_digits(whole) || !is_digits(decimals) || (has_point && decimals.is_empty()) {
            return None;
        }
        if whole.len() + decimals.len() > 18 {
            return None;
        }
        let digits = format!("{whole}{decimals}").parse().ok()?;
        Some(Self { digits, scale: 10_u64.pow(decimals.len() as u32) })
    }

    /// The number if it is whole.
    pub(crate) fn whole(self) -> Option<u64> {
        self.digits.is_multiple_of(self.scale).then(|| self.digits / self.scale)
    }

    /// `unit` times the number, rounded down; `None` where it does not fit.
    pub(crate) fn times(self, unit: u64) -> Option<u64> {
        u64::try_from(u128::from(self.digits) * u128::from(unit) / u128::from(self.scale)).ok()
    }
}

/// The same time of day `months` later; where that month is shorter, its last day.
fn months_later(now: Timestamp, months: u64) -> Option<Timestamp> {
    if months == 0 {
        return Some(now);
    }
    let days = now.micros().div_euclid(MICROS_PER_DAY);
    let time_of_day = now.micros().rem_euclid(MICROS_PER_DAY);
    let (year, month, day) = civil_from_days(days);
    let count = i64::try_from(months).ok()?.checked_add(year.checked_mul(12)?)?.checked_add(month - 1)?;
    let (year, month) = (count.div_euclid(12), count.rem_euclid(12) + 1);
    let day = day.min(days_in_month(year, month));
    let later = days_from_civil(year, month, day)?.checked_mul(MICROS_PER_DAY)?.checked_add(time_of_day)?;
    Some(Timestamp::from_micros(later))
}

const fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days before the first of March of `year`, from the first of March of year 0: leap days come at the end of a year.
const fn days_before_march(year: i64) -> i64 {
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400)
}

/// Days from the first of March of year 0 to 1 January 1970.
const EPOCH: i64 = days_before_march(1969) + 306;

/// Days since 1970-01-01 of a date of the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    if year.abs() > 400_000 {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    // From March on the months have 31, 30, 31, 30, 31 days, again and again: 153 in five.
    Some(days_before_march(year) + (153 * month + 2) / 5 + day - 1 - EPOCH)
}

/// The date (year, month, day) of a day since 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH;
    // Four hundred years have 146 097 days. The estimate is at most one year too late.
    let mut year = (days * 400).div_euclid(146_097) + 1;
    while days_before_march(year) > days {
        year -= 1;
    }
    let of_year = days - days_before_march(year);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn date(year: i64, month: i64, day: i64) -> (i64, i64, i64) {
        (year, month, day)
    }

    fn at(date: (i64, i64, i64)) -> Timestamp {
        Timestamp::from_seconds(days_from_civil(date.0, date.1, date.2).unwrap() * 86_400 + 3_600)
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        let now = at(date(2026, 1, 31));
        for (text, seconds) in [
            ("90m", 5_400),
            ("1.5h", 5_400),
            ("1h30m", 5_400),
            ("0", 0),
            ("0s", 0),
            ("2w1d", 15 * 86_400),
            ("1y", 365 * 86_400),
            ("1o", 28 * 86_400),
            ("1o1y", (365 + 28) * 86_400),
            ("0.5s0.5s", 1),
        ] {
            let text = if text == "0" { "0s" } else { text };
            assert_eq!(parse_duration(text, now), Ok(TimeSpan::from_seconds(seconds)), "{text}");
        }
        let leap = at(date(2027, 3, 1));
        assert_eq!(parse_duration("1y", leap), Ok(TimeSpan::from_seconds(366 * 86_400)), "2028 has a leap day");
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        let now = Timestamp::default();
        for text in ["", "h", "1", "1x", "-1h", "1.h", ".5h", "1e3s", "1h ", "٣h"] {
            assert!(matches!(parse_duration(text, now), Err(DurationError::NotADuration(_))), "{text:?}");
        }
        assert_eq!(parse_duration("1.5y", now), Err(DurationError::PartOfMonth("1.5y".into())));
        assert_eq!(parse_duration("99999999y", now), Err(DurationError::TooLong("99999999y".into())));
        assert_eq!(
            parse_duration("999999999999999999w", now),
            Err(DurationError::TooLong("999999999999999999w".into()))
        );
    }

    #[test]
    fn dates_count_as_the_calendar_does() {
        assert_eq!(days_from_civil(1970, 1, 1), Some(0));
        assert_eq!(days_from_civil(2000, 3, 1), Some(11_017));
        assert_eq!(days_from_civil(2026, 8, 4), Some(20_669));
        assert_eq!(days_from_civil(1969, 12, 31), Some(-1));
    }

    proptest! {
        #[test]
        fn dates_and_days_are_one_to_one(days in -100_000_000_i64..100_000_000) {
            let (year, month, day) = civil_from_days(days);
            prop_assert!((1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day));
            prop_assert_eq!(days_from_civil(year, month, day), Some(days));
        }

        #[test]
        fn durations_print_and_read_back(micros in 0..=u64::MAX / 2) {
            let span = TimeSpan::from_micros(micros);
            prop_assert_eq!(parse_duration(&show_duration(span), Timestamp::default()), Ok(span));
        }

        #[test]
        fn no_text_breaks_the_reader(text in ".{0,40}", seconds in any::<i64>()) {
            let _ = parse_duration(&text, Timestamp::from_micros(seconds));
        }
    }
}
