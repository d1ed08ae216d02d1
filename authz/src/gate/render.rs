//! Decision → [`Answer`]: headers, grant and metadata of an allowed request; status, headers and problem body (RFC 9457) of
//! a refused one.

use authz_core::{
    cors::HeaderLine,
    decision::{Allow, Decision, Note, Outcome, Refusal, Undecided},
    entitlement::MemberId,
    limit,
    policy::Snapshot,
    request::{RawRequest, RequestView},
    time::Timestamp,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use docsgate_grant::{Binding, Grant, Keys};

use crate::answer::{Answer, Forward, Metadata, Reply, ResponseHeader};

/// The best corpus, for logs; copilot reads the grant.
pub const CORPUS_HEADER: &str = "x-docsgate-corpus";
/// The caller's pseudonym.
pub const MEMBER_HEADER: &str = "x-docsgate-member";
/// The signed grant.
pub const GRANT_HEADER: &str = "x-docsgate-grant";
/// Tells a reader's widget that the session has expired: `expired`.
pub const SESSION_HEADER: &str = "x-docsgate-session";

/// Credentials end at the gate, whatever the route.
const CREDENTIALS: [&str; 3] = ["authorization", "cookie", "x-api-key"];

/// What an answer repeats of its request, as far as it is known: enough to answer even one that could not be parsed.
#[derive(Debug)]
pub struct Context<'a> {
    /// Request id, bounded and visible ASCII; empty if there is none.
    pub id: &'a str,
    /// The policy that decided.
    pub policy: &'a Snapshot,
    binding: Binding<'a>,
    grpc: bool,
    now: Timestamp,
}

impl<'a> Context<'a> {
    /// From the raw request and its view, as far as there are such.
    pub fn new(
        raw: Option<&RawRequest<'a>>,
        view: Option<&'a RequestView>,
        policy: &'a Snapshot,
        now: Timestamp,
    ) -> Self {
        let (host, method, path, id) = raw.map(|raw| (raw.host, raw.method, raw.path, raw.id)).unwrap_or_default();
        let safe = id.len() <= 128 && id.bytes().all(|b| b.is_ascii_graphic());
        let id = view.map_or(if safe { id } else { "" }, |view| &view.id);
        Self {
            id,
            policy,
            binding: Binding { host, method, path, request_id: id },
            grpc: view.is_some_and(RequestView::is_grpc),
            now,
        }
    }
}

/// A decision that was rendered.
#[derive(Debug)]
pub struct Rendered {
    /// What the front end translates.
    pub answer: Answer,
    /// The decision as it was finally made: an answer that cannot be given in full is a refusal.
    pub decision: Decision,
    /// An opaque id of the caller, if there is one.
    pub pseudonym: Option<String>,
}

/// Renders decisions; holds the keys that sign grants and make pseudonyms.
#[derive(Debug)]
pub struct Renderer {
    grant_keys: Keys,
    pseudonym_key: aws_lc_rs::hmac::Key,
}

impl Renderer {
    /// Pseudonyms are keyed with a key derived from the current grant key.
    pub fn new(grant_keys: Keys) -> Self {
        let derived = grant_keys.derive(b"docsgate pseudonym v1");
        Self { pseudonym_key: aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &derived), grant_keys }
    }

    /// Renders a decision.
    pub fn render(&self, mut decision: Decision, request: &Context<'_>) -> Rendered {
        let pseudonym = self.pseudonym(&decision);
        let subject = pseudonym.as_deref();
        let answer = match &decision.outcome {
            Outcome::Allow(allow) => self.forward(allow, &decision, request, subject),
            Outcome::Preflight => Ok(preflight(&decision, subject)),
            Outcome::Refuse(refusal) => Ok(refuse(refusal, &decision, request, subject)),
        };
        let fault = match answer {
            Ok(answer) if answer.is_well_formed() => return Rendered { answer, decision, pseudonym },
            Ok(_) => {
                // What the policy or the request had it say cannot be sent; it is not tried once more.
                (decision.about.cors, decision.about.limits) = Default::default();
                Undecided::Answer
            }
            Err(fault) => fault,
        };
        let refusal = Refusal::Undecidable(fault);
        let answer = refuse(&refusal, &decision, request, subject);
        decision.outcome = Outcome::Refuse(refusal);
        Rendered { answer, decision, pseudonym }
    }

    fn forward(
        &self,
        allow: &Allow,
        decision: &Decision,
        request: &Context<'_>,
        subject: Option<&str>,
    ) -> Result<Answer, Undecided> {
        let corpora: Vec<String> = allow.corpora().iter().map(ToString::to_string).collect();
        let best = corpora.first().cloned();
        let grant = Grant { corpora, subject: subject.map(str::to_owned) };
        let grant = docsgate_grant::mint(&self.grant_keys, request.binding, grant, request.now.seconds())
            .map_err(|_| Undecided::Grant)?;
        let mut set = Vec::with_capacity(3);
        set.push((GRANT_HEADER, grant));
        let mut remove = CREDENTIALS.to_vec();
        for (name, value) in [(CORPUS_HEADER, best), (MEMBER_HEADER, subject.map(str::to_owned))] {
            match value {
                Some(value) => set.push((name, value)),
                // Never both set and removed: the order in which a proxy does the two is its own business.
                None => remove.push(name),
            }
        }
        // Ours overwrite the backend's, except `Vary`, to which both have something to add.
        let response = |line: HeaderLine| ResponseHeader { append: line.0 == "vary", line };
        Ok(Answer::Forward(Forward {
            set,
            remove,
            response: common_headers(decision).into_iter().map(response).collect(),
            metadata: metadata(decision, "allowed", subject),
        }))
    }

    /// An opaque id of the caller: stable while the key is, and useless without it.
    fn pseudonym(&self, decision: &Decision) -> Option<String> {
        let facts = &decision.about.facts;
        let text = match (facts.member(), facts.api_key_id()) {
            (Some(MemberId { issuer, subject }), _) => format!("m\0{issuer}\0{subject}"),
            (None, Some(key)) => format!("k\0{key}"),
            (None, None) => return None,
        };
        let tag = aws_lc_rs::hmac::sign(&self.pseudonym_key, text.as_bytes());
        Some(BASE64_URL_SAFE_NO_PAD.encode(tag.as_ref().get(..15).unwrap_or_default()))
    }
}

/// Headers that the client sees whether or not the request is allowed.
fn common_headers(decision: &Decision) -> Vec<HeaderLine> {
    let mut lines = decision.about.cors.clone();
    lines.extend(limit::headers(&decision.about.limits));
    if decision.about.notes.iter().any(|note| matches!(note, Note::StaleSession(_))) {
        lines.push((SESSION_HEADER, "expired".to_owned()));
    }
    lines
}

fn preflight(decision: &Decision, subject: Option<&str>) -> Answer {
    let mut headers = common_headers(decision);
    headers.push(("cache-control", "no-store".to_owned()));
    let metadata = metadata(decision, "preflight", subject);
    Answer::Reply(Reply { status: 204, headers, body: String::new(), grpc_code: 7, metadata })
}

fn refuse(refusal: &Refusal, decision: &Decision, request: &Context<'_>, subject: Option<&str>) -> Answer {
    let mut headers = common_headers(decision);
    headers.push(("cache-control", "no-store".to_owned()));
    if let Some(challenge) = challenge(refusal) {
        headers.push(("www-authenticate", challenge));
    }
    match refusal {
        Refusal::WrongMethod { allowed } => headers.push(("allow", allowed.join(", "))),
        Refusal::Undecidable(_) => headers.push(("retry-after", "1".to_owned())),
        Refusal::Maintenance { retry_after } => headers.push(("retry-after", retry_after.as_secs().to_string())),
        _ => {}
    }
    let body = if request.grpc {
        // A proxy turns the answer to a gRPC request into trailers; these say which.
        headers.push(("grpc-status", refusal.grpc_code().to_string()));
        headers.push(("grpc-message", refusal.title().to_owned()));
        String::new()
    } else {
        headers.push(("content-type", "application/problem+json".to_owned()));
        problem(refusal, request)
    };
    Answer::Reply(Reply {
        status: refusal.status(),
        headers,
        body,
        grpc_code: refusal.grpc_code(),
        metadata: metadata(decision, refusal.kind(), subject),
    })
}

/// RFC 9457, with the request id and never an internal detail.
fn problem(refusal: &Refusal, request: &Context<'_>) -> String {
    let mut body = serde_json::json!({
        "type": format!("urn:docsgate:problem:{}", refusal.kind()),
        "title": refusal.title(),
        "status": refusal.status(),
        "detail": refusal.detail(),
        "request_id": request.id,
    });
    let extra = match refusal {
        Refusal::InvalidToken(_) | Refusal::IdentityRequired => {
            request.policy.sign_in_url.as_ref().map(|url| ("sign_in_url", serde_json::Value::from(url.as_str())))
        }
        Refusal::MissingEntitlement { entitlement } => Some(("entitlement", entitlement.as_str().into())),
        Refusal::RateLimited { retry_after, .. } => {
            Some(("retry_after", (retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0)).max(1).into()))
        }
        _ => None,
    };
    if let (Some(object), Some((name, value))) = (body.as_object_mut(), extra) {
        object.insert(name.to_owned(), value);
    }
    body.to_string()
}

/// The challenge of a 401 or 403 (RFC 6750, section 3).
fn challenge(refusal: &Refusal) -> Option<String> {
    match refusal {
        Refusal::IdentityRequired | Refusal::InvalidApiKey => Some("Bearer realm=\"docs\"".to_owned()),
        Refusal::InvalidToken(fault) => {
            Some(format!("Bearer realm=\"docs\", error=\"invalid_token\", error_description=\"{fault}\""))
        }
        Refusal::MissingEntitlement { entitlement } => {
            Some(format!("Bearer realm=\"docs\", error=\"insufficient_scope\", scope=\"{entitlement}\""))
        }
        _ => None,
    }
}

/// What an access log can show.
fn metadata(decision: &Decision, reason: &str, subject: Option<&str>) -> Metadata {
    let about = &decision.about;
    let mut fields = vec![
        ("policy_version", about.policy.to_string()),
        ("reason", reason.to_owned()),
        ("route", about.route_name().unwrap_or("none").to_owned()),
    ];
    if let Outcome::Allow(allow) = &decision.outcome {
        fields.push(("corpora", allow.corpora().join(",")));
    }
    if let Some(subject) = subject {
        fields.push(("member", subject.to_owned()));
    }
    if let Some(ip) = about.client_ip {
        fields.push(("client_ip", ip.address.to_string()));
    }
    if let Some(shadowed) = &about.shadowed {
        fields.push(("shadowed", shadowed.kind().to_owned()));
    }
    if let Some(note) = about.notes.first() {
        fields.push(("note", note.code().to_owned()));
    }
    fields
}
