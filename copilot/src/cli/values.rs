//! Forms of settings, on the command line and in the environment, each read in one way everywhere.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

/// A number from 0 to 1.
///
/// # Errors
/// A sentence with what was expected.
pub fn probability(text: &str) -> Result<f32, String> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "expected a number from 0 to 1, such as 0.6".to_owned())
}

/// A size such as `512MiB`.
///
/// # Errors
/// A sentence with what was expected.
pub fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => 0,
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| "expected a size such as 512MiB or 4GiB".to_owned())
}

/// A wait such as `10s`, `500ms` or `2m`.
///
/// # Errors
/// A sentence with what was expected.
pub fn patience(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => 0,
    };
    let wait = number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis));
    let wait = wait.filter(|millis| (1..=3_600_000).contains(millis)).map(Duration::from_millis);
    wait.ok_or_else(|| "expected a time such as 10s or 500ms (ms, s or m, up to an hour)".to_owned())
}

/// A path, which an empty flag is not.
///
/// # Errors
/// When it is empty.
pub fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("expected a path; it is empty".to_owned()) } else { Ok(PathBuf::from(text)) }
}

/// How long a pointer is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Seconds.
    Seconds(u64),
    /// Without end.
    Never,
}

/// Longest lifetime that is not [`Lifetime::Never`], in seconds: ten years.
const LONGEST: u64 = 10 * 366 * 86_400;

/// A lifetime such as `90d`, `12h`, `30m`, `45s`, or `never`.
///
/// # Errors
/// A sentence with what was expected.
pub fn lifetime(text: &str) -> Result<Lifetime, String> {
    if text == "never" {
        return Ok(Lifetime::Never);
    }
    let expected = || "expected a time such as 90d or 12h (d, h, m or s, up to ten years), or never".to_owned();
    let (number, unit) = text.split_at(text.len() - text.chars().last().map_or(0, char::len_utf8));
    let factor = match unit {
        "d" => 86_400,
        "h" => 3600,
        "m" => 60,
        "s" => 1,
        _ => return Err(expected()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    seconds.filter(|seconds| (1..=LONGEST).contains(seconds)).map(Lifetime::Seconds).ok_or_else(expected)
}

impl Lifetime {
    /// When what begins `now` ends, in seconds since the epoch.
    #[must_use]
    pub fn ends(self, now: u64) -> Option<u64> {
        match self {
            Self::Seconds(seconds) => Some(now.saturating_add(seconds)),
            Self::Never => None,
        }
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seconds(seconds) => write!(f, "{seconds}s"),
            Self::Never => f.write_str("never"),
        }
    }
}

/// Numbers by corpus: `CORPUS=N`, each of them once and of the corpora that there are.
///
/// # Errors
/// A sentence with what was expected.
pub fn by_corpus(texts: &[String], known: impl Fn(&str) -> bool) -> Result<BTreeMap<String, u64>, String> {
    let mut numbers = BTreeMap::new();
    for text in texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
        let parsed = text.split_once('=').and_then(|(corpus, number)| Some((corpus, number.parse().ok()?)));
        let (corpus, number) = parsed.ok_or_else(|| format!("{text}: expected CORPUS=N, for example public=42"))?;
        if !known(corpus) {
            return Err(format!("{text}: no corpus {corpus} is served"));
        }
        if numbers.insert(corpus.to_owned(), number).is_some() {
            return Err(format!("{text}: {corpus} is given twice"));
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_are_read_with_their_units() {
        assert_eq!(lifetime("90d"), Ok(Lifetime::Seconds(7_776_000)));
        assert_eq!(lifetime("45s"), Ok(Lifetime::Seconds(45)));
        assert_eq!(lifetime("never").map(|never| never.ends(7)), Ok(None));
        for wrong in ["", "d", "0d", "9", "-1d", "9999999d", "1é", "18446744073709551615d"] {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let read = |given: &[&str]| by_corpus(&texts(given), |corpus| corpus != "x");
        assert_eq!(read(&["a=1", "b=2", ""]).unwrap(), BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]));
        assert!(read(&["a"]).is_err() && read(&["a=-1"]).is_err() && read(&["a=1", "a=2"]).is_err());
        assert!(read(&["x=1"]).unwrap_err().contains("no corpus x is served"));
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!((patience("2m"), patience("5ms")), (Ok(Duration::from_secs(120)), Ok(Duration::from_millis(5))));
        assert!(["", "s", "10", "0s", "61m", "1h", "-1s"].iter().all(|wrong| patience(wrong).is_err()));
        assert_eq!((size("1KiB"), size("4GiB")), (Ok(1024), Ok(4 << 30)));
        assert!(path("").is_err() && size("0").is_err() && size("5 MB").is_err() && size("99999999999GiB").is_err());
    }
}
