//! Decision → `CheckResponse`: headers, grant and metadata of an allowed request; status, headers and problem body
//! (RFC 9457) of a refused one.

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
use docsgate_grant::{Binding, Keys};
use envoy_types::pb::{
    envoy::{
        config::core::v3::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction},
        service::auth::v3::{CheckResponse, DeniedHttpResponse, OkHttpResponse, check_response::HttpResponse},
        r#type::v3::HttpStatus,
    },
    google::{
        protobuf::{Struct, Value, value::Kind},
        rpc::Status,
    },
};

/// The best corpus, for logs; copilot reads the grant.
pub const CORPUS_HEADER: &str = "x-docsgate-corpus";
/// The caller's pseudonym.
pub const MEMBER_HEADER: &str = "x-docsgate-member";
/// The signed grant.
pub const GRANT_HEADER: &str = "x-docsgate-grant";
/// Tells a reader's widget that the session has expired: `expired`.
pub const SESSION_HEADER: &str = "x-docsgate-session";

/// Credentials end at the gate, whatever the route.
const REMOVED: [&str; 3] = ["authorization", "cookie", "x-api-key"];

/// What was asked, as far as it is known: enough to answer even a request that could not be parsed.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Request id, bounded and visible ASCII; empty if there is none.
    pub id: &'a str,
    binding: Binding<'a>,
    grpc: bool,
    now: Timestamp,
}

impl<'a> Asked<'a> {
    /// From the raw request and, if it could be parsed, its view.
    pub fn new(raw: Option<&RawRequest<'a>>, view: Option<&'a RequestView>, now: Timestamp) -> Self {
        let raw_id = raw.map_or("", |raw| raw.id);
        let safe = raw_id.len() <= 128 && raw_id.bytes().all(|b| b.is_ascii_graphic());
        Self {
            id: view.map_or(if safe { raw_id } else { "" }, |view| &view.id),
            binding: raw.map_or(Binding { host: "", method: "", path: "" }, |raw| Binding {
                host: raw.host,
                method: raw.method,
                path: raw.path,
            }),
            grpc: view.is_some_and(RequestView::is_grpc),
            now,
        }
    }
}

/// Renders decisions; holds the keys that sign grants and make pseudonyms.
#[derive(Debug)]
pub struct Answerer {
    grant_keys: Keys,
    pseudonym_key: aws_lc_rs::hmac::Key,
}

impl Answerer {
    /// Pseudonyms are keyed with a key derived from the current grant key.
    pub fn new(grant_keys: Keys) -> Self {
        let derived = grant_keys.derive(b"docsgate pseudonym v1");
        Self { pseudonym_key: aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &derived), grant_keys }
    }

    /// The answer to Envoy, and the decision as it was finally made: a grant that cannot be signed is a refusal.
    pub fn render(&self, decision: Decision, asked: &Asked<'_>, policy: &Snapshot) -> (CheckResponse, Decision) {
        let subject = self.pseudonym(&decision);
        let mut decision = decision;
        if let Outcome::Allow(allow) = &decision.outcome {
            match self.allowed(allow, &decision, asked, subject.as_deref()) {
                Ok(response) => return (response, decision),
                Err(refusal) => decision.outcome = Outcome::Refuse(refusal),
            }
        }
        let response = match &decision.outcome {
            Outcome::Refuse(refusal) => refused(refusal, &decision, asked, policy, subject.as_deref()),
            // An allowed request was answered above.
            Outcome::Preflight | Outcome::Allow(_) => preflight(&decision, subject.as_deref()),
        };
        (response, decision)
    }

    fn allowed(
        &self,
        allow: &Allow,
        decision: &Decision,
        asked: &Asked<'_>,
        subject: Option<&str>,
    ) -> Result<CheckResponse, Refusal> {
        let corpora: Vec<String> = allow.corpora().iter().map(ToString::to_string).collect();
        let best = corpora.first().cloned();
        let grant = docsgate_grant::mint(
            &self.grant_keys,
            asked.binding,
            asked.id,
            corpora,
            subject.map(str::to_owned),
            asked.now.seconds(),
        )
        .map_err(|_| Refusal::Undecidable(Undecided::Grant))?;
        let mut headers = vec![set(GRANT_HEADER, grant)];
        let mut remove: Vec<String> = REMOVED.iter().map(ToString::to_string).collect();
        for (name, value) in [(CORPUS_HEADER, best), (MEMBER_HEADER, subject.map(str::to_owned))] {
            match value {
                Some(value) => headers.push(set(name, value)),
                // Never both set and removed: the order in which Envoy does the two is its own business.
                None => remove.push(name.to_owned()),
            }
        }
        Ok(CheckResponse {
            status: Some(Status { code: 0, ..Status::default() }),
            dynamic_metadata: Some(metadata(decision, "allowed", subject)),
            http_response: Some(HttpResponse::OkResponse(OkHttpResponse {
                headers,
                headers_to_remove: remove,
                response_headers_to_add: common_headers(decision).into_iter().map(response_line).collect(),
                ..OkHttpResponse::default()
            })),
        })
    }

    /// An opaque id of the caller: stable while the key is, and useless without it.
    pub(crate) fn pseudonym(&self, decision: &Decision) -> Option<String> {
        let about = &decision.about;
        let text = match (&about.member, &about.api_key) {
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

fn preflight(decision: &Decision, subject: Option<&str>) -> CheckResponse {
    let mut headers = common_headers(decision);
    headers.push(("cache-control", "no-store".to_owned()));
    denied(204, 7, headers, String::new(), metadata(decision, "preflight", subject))
}

fn refused(
    refusal: &Refusal,
    decision: &Decision,
    asked: &Asked<'_>,
    policy: &Snapshot,
    subject: Option<&str>,
) -> CheckResponse {
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
    let body = if asked.grpc {
        // Envoy turns the answer to a gRPC request into trailers; these say which.
        headers.push(("grpc-status", refusal.grpc_code().to_string()));
        headers.push(("grpc-message", refusal.title().to_owned()));
        String::new()
    } else {
        headers.push(("content-type", "application/problem+json".to_owned()));
        problem(refusal, asked, policy)
    };
    denied(refusal.status(), refusal.grpc_code(), headers, body, metadata(decision, refusal.kind(), subject))
}

/// RFC 9457, with the request id and never an internal detail.
fn problem(refusal: &Refusal, asked: &Asked<'_>, policy: &Snapshot) -> String {
    let mut body = serde_json::json!({
        "type": format!("urn:docsgate:problem:{}", refusal.kind()),
        "title": refusal.title(),
        "status": refusal.status(),
        "detail": refusal.detail(),
        "request_id": asked.id,
    });
    let extra = match refusal {
        Refusal::InvalidToken(_) | Refusal::IdentityRequired => {
            policy.sign_in_url.as_ref().map(|url| ("sign_in_url", serde_json::Value::from(url.as_str())))
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

fn denied(status: u16, grpc: i32, headers: Vec<HeaderLine>, body: String, metadata: Struct) -> CheckResponse {
    CheckResponse {
        status: Some(Status { code: grpc, ..Status::default() }),
        dynamic_metadata: Some(metadata),
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(HttpStatus { code: i32::from(status) }),
            headers: headers.into_iter().map(|(name, value)| set(name, value)).collect(),
            body,
        })),
    }
}

/// Always overwrites: what an unset action means has changed between Envoy's releases.
fn set(name: &str, value: String) -> HeaderValueOption {
    option(name, value, HeaderAppendAction::OverwriteIfExistsOrAdd)
}

/// Response headers of an allowed request overwrite the backend's, except `Vary`, to which both have something to add.
fn response_line((name, value): HeaderLine) -> HeaderValueOption {
    let action = if name == "vary" {
        HeaderAppendAction::AppendIfExistsOrAdd
    } else {
        HeaderAppendAction::OverwriteIfExistsOrAdd
    };
    option(name, value, action)
}

fn option(name: &str, value: String, action: HeaderAppendAction) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value, raw_value: Vec::new() }),
        append_action: action.into(),
        ..HeaderValueOption::default()
    }
}

/// What Envoy's access log can show: `%DYNAMIC_METADATA(envoy.filters.http.ext_authz:KEY)%`.
fn metadata(decision: &Decision, reason: &str, subject: Option<&str>) -> Struct {
    let about = &decision.about;
    let mut fields = vec![
        ("policy_version", about.policy.to_string()),
        ("reason", reason.to_owned()),
        ("route", about.route.as_deref().unwrap_or("none").to_owned()),
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
    let text = |value| Value { kind: Some(Kind::StringValue(value)) };
    Struct { fields: fields.into_iter().map(|(name, value)| (name.to_owned(), text(value))).collect() }
}
