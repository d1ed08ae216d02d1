//! How large a record may be. What a client sends must not decide what its line costs: the longest texts are cut, all to
//! the same length, and the record says so.

use super::{DecisionRecord, RecordedMember};

/// Most bytes of one line of the decision log, as JSON.
pub const MAX_BYTES: usize = 4096;
/// Header lines that are kept of a record that is too large.
const MAX_LINES: usize = 32;
/// Entitlements that are kept of a record that is too large.
const MAX_ENTITLEMENTS: usize = 16;

/// A record that stays larger than it may be: what makes it large is not the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the record has {0} bytes and nothing left to cut")]
pub struct TooLarge(pub usize);

impl DecisionRecord {
    /// Cuts the record to at most `most` bytes of JSON and marks it if something had to go. Returns its bytes.
    ///
    /// # Errors
    /// [`TooLarge`] when cutting what the client sent does not help.
    pub fn bound(&mut self, most: usize) -> Result<usize, TooLarge> {
        self.truncated |= self.request.cut;
        let bytes = self.json_bytes();
        if bytes <= most {
            return Ok(bytes);
        }
        self.truncated = true;
        self.request.headers.truncate(MAX_LINES);
        if let Some(RecordedMember::Known { record, .. }) = &mut self.facts.member {
            record.entitlements.truncate(MAX_ENTITLEMENTS);
        }
        let excess = self.json_bytes().saturating_sub(most);
        let mut texts = self.texts();
        let lengths: Vec<usize> = texts.iter().map(|text| json_bytes(text)).collect();
        let longest = level(&lengths, lengths.iter().sum::<usize>().saturating_sub(excess));
        for text in &mut texts {
            cut(text, longest);
        }
        match self.json_bytes() {
            bytes if bytes <= most => Ok(bytes),
            bytes => Err(TooLarge(bytes)),
        }
    }

    /// The texts that a client chooses.
    fn texts(&mut self) -> Vec<&mut String> {
        let request = &mut self.request;
        let mut texts = vec![&mut self.id, &mut request.method, &mut request.host, &mut request.path];
        for (name, value) in &mut request.headers {
            texts.push(name);
            texts.push(value);
        }
        texts
    }

    fn json_bytes(&self) -> usize {
        let mut count = Count(0);
        // Nothing in a record fails to be written, and counting does not fail.
        match serde_json::to_writer(&mut count, self) {
            Ok(()) => count.0,
            Err(_) => usize::MAX,
        }
    }
}

/// Writes nothing.
struct Count(usize);

impl std::io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The length to which all of `lengths` must be cut to have `room` bytes together: the short ones stay whole.
fn level(lengths: &[usize], room: usize) -> usize {
    let mut sorted = lengths.to_vec();
    sorted.sort_unstable();
    let mut room = room;
    for (index, length) in sorted.iter().enumerate() {
        let share = room / (sorted.len() - index);
        if *length > share {
            return share;
        }
        room -= length;
    }
    usize::MAX
}

/// Bytes of a character within a JSON string.
fn escaped(character: char) -> usize {
    match character {
        '"' | '\\' | '\u{8}' | '\t' | '\n' | '\u{c}' | '\r' => 2,
        '\0'..='\u{1f}' => 6,
        other => other.len_utf8(),
    }
}

fn json_bytes(text: &str) -> usize {
    text.chars().map(escaped).sum()
}

/// Keeps as many characters as fit into `most` bytes of JSON.
fn cut(text: &mut String, most: usize) {
    let mut bytes = 0;
    let end = text.char_indices().find(|(_, character)| {
        bytes += escaped(*character);
        bytes > most
    });
    if let Some((at, _)) = end {
        text.truncate(at);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::{RecordedDecision, RecordedFacts, RecordedRequest, SCHEMA};

    fn record(path: &str, headers: &[(&str, &str)]) -> DecisionRecord {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        DecisionRecord {
            schema: SCHEMA.into(),
            time: "2026-01-05T12:00:00Z".into(),
            id: "r1".into(),
            policy: "v".into(),
            sampled: 1.0,
            truncated: false,
            request: RecordedRequest { method: "GET".into(), path: path.into(), headers, ..RecordedRequest::default() },
            facts: RecordedFacts::default(),
            decision: RecordedDecision::default(),
            candidate: None,
            micros: 1,
        }
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let mut small = record("/a", &[("origin", "https://docs.example.org")]);
        let before = small.clone();
        assert_eq!(small.bound(MAX_BYTES), Ok(serde_json::to_vec(&before).unwrap().len()));
        assert_eq!(small, before);
    }

    #[test]
    fn the_longest_texts_are_cut_to_one_length_and_the_short_ones_stay() {
        let long = "x".repeat(40_000);
        let mut large = record(&long, &[("origin", "https://docs.example.org"), ("x-forwarded-for", &long)]);
        assert!(large.bound(MAX_BYTES).unwrap() > MAX_BYTES - 8);
        assert!(large.truncated);
        assert_eq!(large.request.headers[0].1, "https://docs.example.org");
        assert!(large.request.path.len() > 1500 && large.request.path.len() == large.request.headers[1].1.len());
    }

    #[test]
    fn what_no_client_sent_is_not_cut_but_said_to_be_too_large() {
        let mut large = record("/a", &[]);
        large.decision.notes = vec!["a note of the policy".into(); 400];
        assert!(matches!(large.bound(MAX_BYTES), Err(TooLarge(bytes)) if bytes > 8000));
    }

    proptest! {
        // Long texts take long to make.
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whatever is sent: within the bound, still JSON, and marked if and only if it is not all there.
        #[test]
        fn every_record_is_within_the_bound(
            path in "\\PC{0,400}|[\\x00-\\x20\"\\\\]{0,400}",
            lines in proptest::collection::vec(("[a-z-]{1,40}", "\\PC{0,60}|[\\x00-\\x20\"\\\\]{0,200}"), 0..60),
        ) {
            let lines: Vec<(&str, &str)> = lines.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let mut bounded = record(&path, &lines);
            let before = bounded.clone();
            let bytes = bounded.bound(MAX_BYTES).unwrap();
            let line = serde_json::to_string(&bounded).unwrap();
            prop_assert!(bytes == line.len() && bytes <= MAX_BYTES);
            prop_assert_eq!(bounded.truncated, bounded.request != before.request);
            prop_assert_eq!(serde_json::from_str::<DecisionRecord>(&line).unwrap(), bounded);
        }
    }
}
