//! The least that an `ext_authz` server can do: a tonic server on a Unix socket that allows everything.

use std::path::Path;

use anyhow::{Context, Result};
use envoy_types::pb::{
    envoy::service::auth::v3::{
        CheckRequest, CheckResponse, OkHttpResponse,
        authorization_server::{Authorization, AuthorizationServer},
        check_response::HttpResponse,
    },
    google::rpc::Status,
};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;

struct Allow;

#[tonic::async_trait]
impl Authorization for Allow {
    async fn check(&self, _: tonic::Request<CheckRequest>) -> Result<tonic::Response<CheckResponse>, tonic::Status> {
        Ok(tonic::Response::new(CheckResponse {
            status: Some(Status { code: 0, ..Status::default() }),
            http_response: Some(HttpResponse::OkResponse(OkHttpResponse::default())),
            ..CheckResponse::default()
        }))
    }
}

/// Serves for ever on `socket`; returns when it listens.
pub(crate) fn serve(socket: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let listener = {
        let _inside = runtime.enter();
        UnixListener::bind(socket).with_context(|| format!("cannot listen on {}", socket.display()))?
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            let server = tonic::transport::Server::builder().add_service(AuthorizationServer::new(Allow));
            let _ = server.serve_with_incoming(UnixListenerStream::new(listener)).await;
        });
    });
    Ok(())
}
