//! gRPC through the gate: refusals are gRPC statuses, and an allowed call is answered by copilot.

use docsgate_proto::copilot::v1::{SearchRequest, retrieval_client::RetrievalClient};
use tonic::{Code, Request, Status, transport::Endpoint};

use crate::gate::{Gate, Wanted};

fn with_grpc_routes(text: &str) -> String {
    let path = "prefix: /docsgate.copilot.v1.Retrieval, methods: [POST]";
    format!(
        "{}
  - {{name: grpc, match: {{{path}}}, corpus: auto, limits: [flood]}}
  - {{name: grpc-member, match: {{{path}, headers: {{x-only: members}}}}, corpus: member, limits: [flood]}}
  - {{name: grpc-few, match: {{{path}, headers: {{x-limit: few}}}}, corpus: auto, limits: [few]}}
",
        text.trim_end()
    )
}

/// Searches over gRPC through Envoy and returns the pages found.
async fn search(gate: &Gate, headers: &[(&'static str, &str)]) -> Result<Vec<String>, Status> {
    let channel = Endpoint::from_shared(gate.url("")).unwrap().connect().await.unwrap();
    let mut request = Request::new(SearchRequest { query: "tides zanzibar".into(), ..SearchRequest::default() });
    for (name, value) in headers {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    let answer = RetrievalClient::new(channel).search(request).await?;
    Ok(answer.into_inner().hits.into_iter().map(|hit| hit.url).collect())
}

#[test]
fn refusals_are_grpc_statuses_and_an_allowed_call_is_answered() {
    let gate = Gate::with(Wanted { policy: Some(with_grpc_routes), ..Wanted::default() });
    let bearer = format!("Bearer {}", gate.member_token());
    let stranger = format!("Bearer {}", gate.token("nobody"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let public = search(&gate, &[]).await.unwrap();
        assert!(!public.is_empty());
        let all = search(&gate, &[("authorization", &bearer)]).await.unwrap();
        assert!(all.len() > public.len() || all != public, "{public:?} {all:?}");

        let refused = async |headers: &[(&'static str, &str)]| search(&gate, headers).await.unwrap_err();
        assert_eq!(refused(&[("authorization", "Bearer not.a.token")]).await.code(), Code::Unauthenticated);
        assert_eq!(refused(&[("x-only", "members")]).await.code(), Code::Unauthenticated);
        let without = refused(&[("x-only", "members"), ("authorization", &stranger)]).await;
        assert_eq!(without.code(), Code::PermissionDenied);
        assert!(without.message().contains("membership"), "{without:?}");
        for _ in 0..3 {
            search(&gate, &[("x-limit", "few")]).await.unwrap();
        }
        let limited = refused(&[("x-limit", "few")]).await;
        assert_eq!(limited.code(), Code::ResourceExhausted);
        assert!(limited.metadata().contains_key("retry-after"), "{limited:?}");
        assert!(limited.metadata().contains_key("x-request-id"), "{limited:?}");
    });
    calls_are_observed(&gate, &runtime);
}

/// copilot measures and logs calls as it does HTTP requests, those around the gate too: the alerts count both.
fn calls_are_observed(gate: &Gate, runtime: &tokio::runtime::Runtime) {
    let copilot = gate.stack.copilot.as_ref().unwrap();
    let around = runtime.block_on(async {
        let mut client = RetrievalClient::connect(format!("http://{}", copilot.grpc_address)).await.unwrap();
        client.search(SearchRequest::default()).await.unwrap_err()
    });
    assert_eq!(around.code(), Code::PermissionDenied);
    let metrics = gate.http.get(format!("{}/metrics", copilot.admin_url)).send().unwrap().text().unwrap();
    for line in [
        r#"docsgate_copilot_requests_total{route="search",protocol="grpc",status="200"} 5"#,
        r#"docsgate_copilot_requests_total{route="search",protocol="grpc",status="403"} 1"#,
        r#"docsgate_copilot_request_seconds_count{route="search",protocol="grpc"} 6"#,
        "docsgate_copilot_grant_refusals_total 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let log = std::fs::read_to_string(copilot.process.log()).unwrap();
    let calls = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let calls: Vec<_> = calls.filter(|line| line["message"] == "request" && line["protocol"] == "grpc").collect();
    assert_eq!(calls.len(), 6, "{log}");
    let fields = |line: &serde_json::Value| {
        line["path"] == "/docsgate.copilot.v1.Retrieval/Search" && !line["request_id"].as_str().unwrap().is_empty()
    };
    assert!(calls.iter().all(fields), "{calls:?}");
}

#[test]
fn a_method_that_no_route_takes_is_unimplemented_and_a_lost_authz_unavailable() {
    let gate = Gate::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    assert_eq!(runtime.block_on(search(&gate, &[])).unwrap_err().code(), Code::Unimplemented);
    gate.stack.authz.process.kill();
    assert_eq!(runtime.block_on(search(&gate, &[])).unwrap_err().code(), Code::Unavailable);
}
