//! Envoy's gRPC `ext_authz` v3: `CheckRequest` → raw request, answer → `CheckResponse`.

use std::{net::IpAddr, sync::Arc};

use authz_core::{
    cors::HeaderLine,
    request::{RawRequest, RequestFault},
};
use envoy_types::pb::{
    envoy::{
        config::core::v3::{Address, HeaderValue, HeaderValueOption, address, header_value_option::HeaderAppendAction},
        service::auth::v3::{
            CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse, authorization_server::Authorization,
            check_response::HttpResponse,
        },
        r#type::v3::HttpStatus,
    },
    google::{
        protobuf::{Struct, Value, value::Kind},
        rpc::Status,
    },
};

use crate::{
    answer::{Answer, Forward, Metadata, Reply},
    gate::Gate,
};

/// Largest Check message: Envoy's header limit with room for everything else.
pub const MAX_CHECK_BYTES: usize = 1024 * 1024;

/// Answers `envoy.service.auth.v3.Authorization/Check`.
#[derive(Debug)]
pub struct CheckService(pub Arc<Gate>);

#[tonic::async_trait]
impl Authorization for CheckService {
    async fn check(
        &self,
        check: tonic::Request<CheckRequest>,
    ) -> Result<tonic::Response<CheckResponse>, tonic::Status> {
        // Envoy's call has its own span in the metadata. What the client's request says of traces is not believed.
        let metadata = check.metadata();
        let raw = raw(check.get_ref()).ok_or(RequestFault::NoHttp);
        let answer = self.0.check(raw, |name| metadata.get(name)?.to_str().ok()).await;
        Ok(tonic::Response::new(response(answer)))
    }
}

/// What Envoy says of the request, borrowed. `None` when the message carries no HTTP request.
///
/// With `encode_raw_headers` the lines come in `header_map`, one by one and in bytes; without it they come in
/// `headers`, where Envoy has joined repeated ones with commas. If both are filled, the raw ones count.
fn raw(check: &CheckRequest) -> Option<RawRequest<'_>> {
    let attributes = check.attributes.as_ref()?;
    let http = attributes.request.as_ref()?.http.as_ref()?;
    let lines: Vec<(&str, &[u8])> = match &http.header_map {
        Some(map) if !map.headers.is_empty() => map
            .headers
            .iter()
            .map(|line| {
                let value = if line.raw_value.is_empty() { line.value.as_bytes() } else { line.raw_value.as_slice() };
                (line.key.as_str(), value)
            })
            .collect(),
        _ => http.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect(),
    };
    // Pseudo-headers stand in fields of their own.
    let headers: Vec<(&str, &[u8])> = lines.into_iter().filter(|(name, _)| !name.starts_with(':')).collect();
    let id = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-request-id")).map(|(_, value)| *value);
    Some(RawRequest {
        id: id.and_then(|id| std::str::from_utf8(id).ok()).unwrap_or(&http.id),
        method: &http.method,
        host: &http.host,
        path: &http.path,
        headers,
        peer: attributes.source.as_ref().and_then(|source| address(source.address.as_ref()?)),
    })
}

/// The IP address of a peer; a Unix socket has none.
fn address(address: &Address) -> Option<IpAddr> {
    match address.address.as_ref()? {
        address::Address::SocketAddress(socket) => socket.address.parse().ok(),
        address::Address::Pipe(_) | address::Address::EnvoyInternalAddress(_) => None,
    }
}

fn response(answer: Answer) -> CheckResponse {
    match answer {
        Answer::Forward(forward) => ok(forward),
        Answer::Reply(reply) => denied(reply),
    }
}

fn ok(forward: Forward) -> CheckResponse {
    let added = forward.response.into_iter().map(|header| {
        let action = match header.append {
            true => HeaderAppendAction::AppendIfExistsOrAdd,
            false => HeaderAppendAction::OverwriteIfExistsOrAdd,
        };
        option(header.line, action)
    });
    CheckResponse {
        status: Some(Status { code: 0, ..Status::default() }),
        dynamic_metadata: Some(fields(forward.metadata)),
        http_response: Some(HttpResponse::OkResponse(OkHttpResponse {
            headers: forward.set.into_iter().map(set).collect(),
            headers_to_remove: forward.remove.into_iter().map(str::to_owned).collect(),
            response_headers_to_add: added.collect(),
            ..OkHttpResponse::default()
        })),
    }
}

fn denied(reply: Reply) -> CheckResponse {
    CheckResponse {
        status: Some(Status { code: reply.grpc_code, ..Status::default() }),
        dynamic_metadata: Some(fields(reply.metadata)),
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(HttpStatus { code: i32::from(reply.status) }),
            headers: reply.headers.into_iter().map(set).collect(),
            body: reply.body,
        })),
    }
}

/// Always overwrites: what an unset action means has changed between Envoy's releases.
fn set(line: HeaderLine) -> HeaderValueOption {
    option(line, HeaderAppendAction::OverwriteIfExistsOrAdd)
}

fn option((name, value): HeaderLine, action: HeaderAppendAction) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value, raw_value: Vec::new() }),
        append_action: action.into(),
        ..HeaderValueOption::default()
    }
}

/// What Envoy's access log can show: `%DYNAMIC_METADATA(envoy.filters.http.ext_authz:KEY)%`.
fn fields(metadata: Metadata) -> Struct {
    let text = |value| Value { kind: Some(Kind::StringValue(value)) };
    Struct { fields: metadata.into_iter().map(|(name, value)| (name.to_owned(), text(value))).collect() }
}
