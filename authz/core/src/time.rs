//! Time is a parameter: the core never reads a clock.

use std::{fmt, time::Duration};

use jiff::{Span, SpanRelativeTo, fmt::temporal::DateTimePrinter};

/// An instant, in nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From whole seconds since the epoch; saturates in the year 2554.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// From nanoseconds since the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From the system's clock as the caller read it; times before the epoch count as the epoch.
    pub fn from_system(time: std::time::SystemTime) -> Self {
        let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Parses an RFC 3339 time in UTC: `2026-11-21T00:10:00Z`, with or without a fraction.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::parse_utc(text)
            .ok_or_else(|| format!("`{text}` is not a time; expected UTC such as `2026-11-21T00:10:00Z`"))
    }

    fn parse_utc(text: &str) -> Option<Self> {
        // jiff reads more than this one form, and ours has one spelling.
        let in_form =
            matches!(text.as_bytes(), [_, _, _, _, b'-', _, _, b'-', _, _, b'T', _, _, b':', _, _, b':', .., b'Z']);
        let time: jiff::Timestamp = text.parse().ok().filter(|_| in_form)?;
        u64::try_from(time.as_nanosecond()).ok().map(Self)
    }

    /// RFC 3339 in UTC with nanoseconds: what [`parse`](Self::parse) reads.
    pub fn rfc3339(self) -> String {
        const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(9));
        // Every time of this type is one of jiff's, whose last lies in the year 9999.
        let time = jiff::Timestamp::from_nanosecond(self.0.into()).unwrap_or(jiff::Timestamp::MAX);
        PRINTER.timestamp_to_string(&time)
    }

    /// Whole seconds since the epoch.
    pub const fn seconds(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// Nanoseconds since the epoch.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// This instant plus `duration`, saturating.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Time since `earlier`; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// Parses a duration: a whole number and one unit, such as `30s`, `10m`, `1h`, `500ms`.
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = "expected a duration such as `500ms`, `30s`, `10m`, `1h` or `7d`";
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    if unit.len() == text.len() {
        return Err(format!("`{text}` is not a duration; {expected}"));
    }
    // jiff reads more than these; ours are the ones that nobody can misread.
    if !matches!(unit, "ms" | "s" | "m" | "min" | "h" | "d") {
        return Err(format!("`{text}` has no known unit; {expected}"));
    }
    let duration = text.parse::<Span>().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
    duration
        .ok()
        .and_then(|duration| duration.try_into().ok())
        .ok_or_else(|| format!("`{text}` is too long; {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, millis) in [
            ("500ms", 500),
            ("0s", 0),
            ("30s", 30_000),
            ("10m", 600_000),
            ("10min", 600_000),
            ("1h", 3_600_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "s", "10", "-1s", "1.5h", "1h30m", "1 h", "PT1H", "1mo", "1w", "1H", "99999999999999999999d"] {
            assert!(parse_duration(bad).unwrap_err().contains("expected a duration"), "{bad}");
        }
    }

    #[test]
    fn times_are_read_and_written_in_utc() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-11-21T00:10:00Z", 1_795_219_800),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            let time = Timestamp::parse(text).unwrap();
            assert_eq!(time.seconds(), seconds, "{text}");
            assert_eq!(Timestamp::parse(&time.rfc3339()).unwrap(), time);
        }
        assert_eq!(Timestamp::parse("1970-01-01T00:00:01.5Z").unwrap().nanos(), 1_500_000_000);
        for none in ["2026-02-31T00:00:00Z", "2026-02-29T00:00:00Z", "2026-04-31T00:00:00Z", "2100-02-29T00:00:00Z"] {
            assert!(Timestamp::parse(none).unwrap_err().contains("expected UTC"), "{none}: no such day");
        }
        for bad in ["", "now", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00", "2026-01-01 00:00:00Z", "-1-1-1T1:1:1Z"] {
            assert!(Timestamp::parse(bad).unwrap_err().contains("expected UTC"), "{bad}");
        }
    }
}
