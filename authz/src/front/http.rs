//! The HTTP front end, for proxies without gRPC `ext_authz`: the same policy, the same decisions, one profile.

use std::{io, net::SocketAddr, num::NonZeroU32, sync::Arc, time::Duration};

use authz_core::request::RequestFault;
use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderValue, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
    routing::any,
};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    listener::Listener,
    profile::{Call, Profile},
    tls::TlsConnection,
};
use crate::{answer::Answer, gate::Gate};

/// Where proxies that describe the original request in headers ask.
pub const CHECK: &str = "/check";
/// Behind this prefix, preflights are answered in full, for Traefik, which can show its client no 2xx of [`CHECK`].
pub const PREFLIGHT: &str = "/preflight";
/// Complaints about a proxy that does not describe its requests.
const COMPLAINTS: Quota = Quota::per_minute(NonZeroU32::MIN);

/// Serves until `drain` is cancelled and what was under way is answered.
///
/// # Errors
/// When the listener is lost.
pub async fn serve(
    listener: Listener,
    gate: Arc<Gate>,
    profile: Profile,
    drain: CancellationToken,
) -> anyhow::Result<()> {
    let (router, drained) = (router(gate, profile), drain.cancelled_owned());
    match listener {
        Listener::Unix(listener, _) => axum::serve(listener, router).with_graceful_shutdown(drained).await?,
        Listener::Tcp(listener) => axum::serve(listener, router).with_graceful_shutdown(drained).await?,
        Listener::Tls(connections, address) => {
            let listener = TlsListener { connections, address };
            axum::serve(listener, router).with_graceful_shutdown(drained).await?;
        }
    }
    Ok(())
}

/// What is in force for each call.
#[derive(Debug, Clone)]
struct Front {
    gate: Arc<Gate>,
    profile: Profile,
    complaints: Arc<DefaultDirectRateLimiter>,
}

impl Front {
    /// A proxy that is set up wrongly gets every request refused; its operators are told why once in a while.
    fn complain(&self, fault: &RequestFault) {
        if let RequestFault::Undescribed(header) = fault
            && self.complaints.check().is_ok()
        {
            tracing::warn!(
                header,
                profile = ?self.profile,
                "the proxy does not say what was asked; is this its profile?"
            );
        }
    }
}

fn router(gate: Arc<Gate>, profile: Profile) -> Router {
    let front = Front { gate, profile, complaints: Arc::new(RateLimiter::direct(COMPLAINTS)) };
    let asked = Router::new().route(CHECK, any(check)).fallback(elsewhere);
    match profile {
        // The request itself is what is asked about.
        Profile::Envoy => Router::new().fallback(check).with_state(front),
        Profile::Traefik => asked.route("/preflight/{*path}", any(preflight)).with_state(front),
        Profile::Nginx | Profile::Caddy => asked.with_state(front),
    }
}

/// One question of the proxy. Its body, if it has one, is the client's and is not read.
async fn check(State(front): State<Front>, request: Request) -> Response {
    let ((parts, _), fresh) = (request.into_parts(), fresh_id());
    let original = front.profile.original(call(&parts), &fresh).inspect_err(|fault| front.complain(fault));
    let id = original.as_ref().map(|raw| raw.id).unwrap_or_default();
    // What the client's request says of traces is not believed, and the proxy's own word cannot be told from it.
    let answer = front.gate.check(original, |_| None).await;
    into_response(front.profile.response(answer, id))
}

/// A preflight that the proxy hands on. Nothing else is answered here: nobody learns a grant.
async fn preflight(State(front): State<Front>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let target = parts.uri.path_and_query().and_then(|target| target.as_str().strip_prefix(PREFLIGHT));
    let Some(uri) = target.and_then(|target| target.parse::<Uri>().ok()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    parts.uri = uri;
    let fresh = fresh_id();
    match front.gate.check(Profile::handed_on(call(&parts), &fresh), |_| None).await {
        Answer::Reply(reply) => {
            // In full, as the client is to see it: Envoy's profile changes nothing.
            into_response(Profile::Envoy.response(Answer::Reply(reply), ""))
        }
        Answer::Forward(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A proxy that asks elsewhere must not take the answer for a yes, nor for its client's 404.
async fn elsewhere() -> Response {
    (StatusCode::FORBIDDEN, format!("ask at {CHECK}\n")).into_response()
}

/// Ids of requests through proxies that have none of their own, or pass the client's on.
fn fresh_id() -> String {
    Uuid::new_v4().to_string()
}

fn call(request: &Parts) -> Call<'_> {
    Call { method: &request.method, uri: &request.uri, headers: &request.headers }
}

fn into_response(response: super::profile::Response) -> Response {
    let mut answer = (response.status, response.body).into_response();
    // Text is what axum takes a string for; a refusal says by itself what it is.
    answer.headers_mut().remove(header::CONTENT_TYPE);
    answer.headers_mut().extend(response.headers);
    answer.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    answer
}

/// Connections over TLS, as axum takes them.
struct TlsListener {
    connections: ReceiverStream<io::Result<TlsConnection>>,
    address: SocketAddr,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsConnection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            if let Some(Ok(connection)) = self.connections.next().await {
                return (connection, self.address);
            }
            // The listener has ended with its runtime; there is nothing left to accept.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}
