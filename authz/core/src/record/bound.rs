//! How large a record may be. What a client sends must not decide what its line costs: the longest texts are cut, all to
//! the same length, and the record says so.

use super::{DecisionRecord, RecordedApiKey, RecordedFacts, RecordedMember};

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
    /// Cuts a record whose texts are longer than any line, and marks it. Costs a look at their lengths and no JSON, so that it
    /// has a place on the path of a request; [`line`](Self::line) does the rest. Returns about the memory that the record takes.
    pub fn trim(&mut self) -> usize {
        self.truncated |= self.request.cut;
        let (texts, places) = self.weight();
        if texts <= MAX_BYTES {
            return texts + places;
        }
        self.shorten_lists();
        let mut texts = self.texts();
        let lengths: Vec<usize> = texts.iter().map(|text| text.len()).collect();
        let longest = level(&lengths, MAX_BYTES);
        for text in &mut texts {
            cut(text, longest, char::len_utf8);
        }
        let (texts, places) = self.weight();
        texts + places
    }

    /// The record as one line of JSON, without the line's end, of at most [`MAX_BYTES`]: cut and marked if it has to be.
    ///
    /// # Errors
    /// [`TooLarge`] when cutting what the client sent does not help.
    pub fn line(&self) -> Result<Vec<u8>, TooLarge> {
        let whole = self.json();
        if whole.len() <= MAX_BYTES { Ok(whole) } else { self.clone().bounded(MAX_BYTES) }
    }

    /// Cuts a record that has more than `most` bytes of JSON, and marks it.
    fn bounded(mut self, most: usize) -> Result<Vec<u8>, TooLarge> {
        self.shorten_lists();
        let excess = self.json().len().saturating_sub(most);
        let mut texts = self.texts();
        let lengths: Vec<usize> = texts.iter().map(|text| json_bytes(text)).collect();
        let longest = level(&lengths, lengths.iter().sum::<usize>().saturating_sub(excess));
        for text in &mut texts {
            cut(text, longest, escaped);
        }
        let line = self.json();
        if line.len() <= most { Ok(line) } else { Err(TooLarge(line.len())) }
    }

    /// Keeps the first header lines and entitlements.
    fn shorten_lists(&mut self) {
        self.truncated = true;
        let headers = &mut self.request.headers;
        headers.truncate(MAX_LINES);
        headers.shrink_to_fit();
        let RecordedFacts { member, api_key, .. } = &mut self.facts;
        let member = member.as_mut().and_then(|member| match member {
            RecordedMember::Known { record, .. } => Some(record),
            RecordedMember::Unavailable | RecordedMember::Unknown { .. } => None,
        });
        let api_key = api_key.as_mut().and_then(|key| match key {
            RecordedApiKey::Valid { record, .. } => Some(record),
            RecordedApiKey::Refused | RecordedApiKey::Unavailable => None,
        });
        for record in member.into_iter().chain(api_key) {
            record.entitlements.truncate(MAX_ENTITLEMENTS);
            record.entitlements.shrink_to_fit();
        }
    }

    /// Bytes of the texts whose number or length the policy does not bound, and of the places that hold them.
    fn weight(&self) -> (usize, usize) {
        let (request, headers) = (&self.request, &self.request.headers);
        let mut texts = self.id.len() + request.method.len() + request.host.len() + request.path.len();
        texts += headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        let mut places = size_of::<Self>() + size_of_val(headers.as_slice());
        let member = match &self.facts.member {
            Some(RecordedMember::Known { record, .. }) => record.entitlements.as_slice(),
            _ => &[],
        };
        let api_key = match &self.facts.api_key {
            Some(RecordedApiKey::Valid { record, .. }) => record.entitlements.as_slice(),
            _ => &[],
        };
        for entitlements in [member, api_key] {
            let length = |(feature, starts, ends): &(String, String, Option<String>)| {
                feature.len() + starts.len() + ends.as_ref().map_or(0, String::len)
            };
            texts += entitlements.iter().map(length).sum::<usize>();
            places += size_of_val(entitlements);
        }
        (texts, places)
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

    fn json(&self) -> Vec<u8> {
        // Nothing in a record fails to be written.
        serde_json::to_vec(self).unwrap_or_default()
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

/// Keeps as many characters as fit into `most` bytes, each counted by `size`.
fn cut(text: &mut String, most: usize, size: fn(char) -> usize) {
    let mut bytes = 0;
    let end = text.char_indices().find(|(_, character)| {
        bytes += size(*character);
        bytes > most
    });
    if let Some((at, _)) = end {
        text.truncate(at);
        // What was cut must not stay allocated.
        text.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::{RecordedDecision, RecordedRequest, SCHEMA};

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

    fn read(line: &[u8]) -> DecisionRecord {
        serde_json::from_slice(line).unwrap()
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let mut small = record("/a", &[("origin", "https://docs.example.org")]);
        let before = small.clone();
        assert!(small.trim() > size_of::<DecisionRecord>());
        assert_eq!(small, before);
        assert_eq!(small.line().unwrap(), serde_json::to_vec(&before).unwrap());
    }

    #[test]
    fn the_longest_texts_are_cut_to_one_length_and_the_short_ones_stay() {
        let long = "x".repeat(40_000);
        let large = record(&long, &[("origin", "https://docs.example.org"), ("x-forwarded-for", &long)]);
        let mut trimmed = large.clone();
        assert!(trimmed.trim() < MAX_BYTES + size_of::<DecisionRecord>() + 256);
        let line = trimmed.line().unwrap();
        assert!(line.len() > MAX_BYTES - 8 && line.len() <= MAX_BYTES);
        assert_eq!(line, large.line().unwrap(), "what was trimmed before makes no other line");
        for cut in [trimmed, read(&line)] {
            assert!(cut.truncated);
            assert_eq!(cut.request.headers[0].1, "https://docs.example.org");
            assert!(cut.request.path.len() > 1500 && cut.request.path.len() == cut.request.headers[1].1.len());
        }
    }

    /// Short enough in memory; six times as long when it is written.
    #[test]
    fn texts_that_grow_when_they_are_written_are_cut_in_the_line() {
        let mut escaped = record(&"\u{1}".repeat(3000), &[]);
        escaped.trim();
        assert!(!escaped.truncated && escaped.request.path.len() == 3000);
        let line = escaped.line().unwrap();
        assert!(line.len() <= MAX_BYTES && read(&line).truncated);
    }

    #[test]
    fn what_no_client_sent_is_not_cut_but_said_to_be_too_large() {
        let mut large = record("/a", &[]);
        large.decision.notes = vec!["a note of the policy".into(); 400];
        assert!(matches!(large.line(), Err(TooLarge(bytes)) if bytes > 8000));
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
            let mut kept = record(&path, &lines);
            let before = kept.clone();
            let memory = kept.trim();
            prop_assert!(memory < MAX_BYTES + size_of::<DecisionRecord>() + 60 * size_of::<(String, String)>());
            prop_assert_eq!(kept.truncated, kept.request != before.request);
            let line = kept.line().unwrap();
            prop_assert!(line.len() <= MAX_BYTES);
            let written = read(&line);
            prop_assert_eq!(written.truncated, written.request != before.request);
        }
    }
}
