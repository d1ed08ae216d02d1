//! What the gate says of one request, in no protocol's words. Front ends translate it and decide nothing.

use authz_core::cors::HeaderLine;

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The request goes on to the backend.
    Forward(Forward),
    /// The gate itself answers the client.
    Reply(Reply),
}

/// What changes about a request on its way to the backend, and about the backend's response on its way back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forward {
    /// Request headers that replace any of their name.
    pub set: Vec<HeaderLine>,
    /// Names of request headers that the backend must not see. None of them is also set.
    pub remove: Vec<&'static str>,
    /// Headers of the response to the client.
    pub response: Vec<ResponseHeader>,
    /// What an access log may show.
    pub metadata: Metadata,
}

/// A header for the backend's response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHeader {
    /// Name and value.
    pub line: HeaderLine,
    /// Added beside what the backend has sent, rather than put in its place.
    pub append: bool,
}

/// A whole response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers, each name once.
    pub headers: Vec<HeaderLine>,
    /// Body; empty, or JSON on one line.
    pub body: String,
    /// `google.rpc.Code` of the same refusal.
    pub grpc_code: i32,
    /// What an access log may show.
    pub metadata: Metadata,
}

/// Short facts about a decision, by name: reason, route, policy version, corpora, pseudonym, client address.
pub type Metadata = Vec<(&'static str, String)>;

impl Answer {
    /// Whether every header can be sent over every protocol: names in lower case, values without control characters and
    /// in ASCII. Not every proxy looks at what it is given; a line break in a value would be a header of its author's
    /// choice.
    pub fn is_well_formed(&self) -> bool {
        let sound = |(name, value): &HeaderLine| is_name(name) && is_value(value);
        match self {
            Self::Forward(forward) => {
                forward.set.iter().all(sound)
                    && forward.remove.iter().all(|name| is_name(name))
                    && forward.response.iter().all(|header| sound(&header.line))
            }
            Self::Reply(reply) => (200..600).contains(&reply.status) && reply.headers.iter().all(sound),
        }
    }
}

/// RFC 9110, section 5.1, without upper case (RFC 9113, section 8.2.1).
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
}

/// RFC 9110, section 5.5, without `obs-text`.
fn is_value(value: &str) -> bool {
    value.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b)) && value.trim_ascii() == value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_with_a_header_that_could_become_two_is_not_well_formed() {
        let forward = |line: HeaderLine| Answer::Forward(Forward { set: vec![line], ..Forward::default() });
        let reply = |line: HeaderLine| Answer::Reply(Reply { status: 403, headers: vec![line], ..Reply::default() });
        assert!(forward(("x-docsgate-corpus", "public".into())).is_well_formed());
        assert!(reply(("vary", String::new())).is_well_formed());
        for value in ["a\r\nset-cookie: x", "a\nb", "a\0", "é", " a", "a ", "\u{7f}"] {
            assert!(!forward(("x-docsgate-corpus", value.into())).is_well_formed(), "{value:?}");
            assert!(!reply(("x-docsgate-corpus", value.into())).is_well_formed(), "{value:?}");
        }
        for name in ["", "Upper", "a b", "a:b", "a\n"] {
            assert!(!forward((name, String::new())).is_well_formed(), "{name:?}");
        }
        let response = ResponseHeader { line: ("vary", "a\nb".into()), append: true };
        assert!(!Answer::Forward(Forward { response: vec![response], ..Forward::default() }).is_well_formed());
        assert!(!Answer::Reply(Reply::default()).is_well_formed(), "no status");
    }
}
