//! Times as people read them.

use jiff::tz::TimeZone;
use tycoon_market::duration_text::parse_duration;
use tycoon_market::{TimeSpan, Timestamp};

/// A span of time on the command line: `30s`, `8h`, `7d`.
pub fn span(text: &str) -> Result<TimeSpan, String> {
    parse_duration(text, Timestamp::default()).map_err(|error| format!("{error}; write a time such as 30s or 8h"))
}

/// A point in time in the local time zone: `2026-03-01 14:05`.
pub fn local(time: Timestamp) -> String {
    match jiff::Timestamp::from_microsecond(time.micros()) {
        Ok(time) => time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string(),
        Err(_) => "beyond the calendar".to_owned(),
    }
}

/// The same with seconds: `2026-03-01 14:05:59`.
pub fn local_with_seconds(time: Timestamp) -> String {
    match jiff::Timestamp::from_microsecond(time.micros()) {
        Ok(time) => time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => "beyond the calendar".to_owned(),
    }
}
