use docsgate_grant::{Binding, Grant, Keys, mint};
use docsgate_proto::copilot::v1::retrieval_client::RetrievalClient;
use tonic::{Code, metadata::MetadataValue};

use super::*;
use crate::{
    app::fixture::{KEY, app},
    clock::now,
};

fn granted<T>(message: T, address: &str, method: &str, corpora: &[&str]) -> Request<T> {
    let keys = Keys::parse(KEY).unwrap();
    let path = format!("/docsgate.copilot.v1.Retrieval/{method}");
    let binding = Binding { host: address, method: "POST", path: &path, request_id: "rid" };
    let corpora = corpora.iter().map(|name| (*name).to_owned()).collect();
    let grant = mint(&keys, binding, Grant { corpora, subject: None }, now()).unwrap();
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-docsgate-grant", MetadataValue::try_from(grant).unwrap());
    request.metadata_mut().insert("x-request-id", MetadataValue::from_static("rid"));
    request
}

#[tokio::test]
async fn calls_are_granted_searched_and_answered_as_over_http() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let app = app();
    let server = tokio::spawn(serve(app.clone(), listener, async {
        let _ = stopped.await;
    }));
    let mut client = RetrievalClient::connect(format!("http://{address}")).await.unwrap();
    let query = || SearchRequest { query: "quibblewort port".to_owned(), ..SearchRequest::default() };

    let refused = client.search(Request::new(query())).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let for_ask = granted(query(), &address, "Ask", &["public"]);
    assert_eq!(client.search(for_ask).await.unwrap_err().code(), Code::PermissionDenied);

    let public = client.search(granted(query(), &address, "Search", &["public"])).await.unwrap().into_inner();
    assert!(public.hits.iter().all(|hit| hit.corpus == "public") && public.total == 1);
    let member = client.search(granted(query(), &address, "Search", &["member", "public"])).await.unwrap().into_inner();
    assert_eq!(member.hits[0].url, "https://m/port/");
    assert_eq!(member.provenance.unwrap().index_version, "member:1+public:1");
    let many = SearchRequest { limit: 999, ..query() };
    let refused = client.search(granted(many, &address, "Search", &["public"])).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);

    let question = AskRequest { question: "How do I restore a database?".to_owned(), history: Vec::new() };
    let mut answer = client.ask(granted(question, &address, "Ask", &["public"])).await.unwrap().into_inner();
    let mut parts = Vec::new();
    while let Some(part) = answer.message().await.unwrap() {
        parts.push(part.part.unwrap());
    }
    assert!(matches!(&parts[0], Part::Citation(citation) if citation.url == "https://d/backup/"));
    assert!(matches!(parts.last(), Some(Part::Done(done)) if done.grounded));
    let channel =
        tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    health.check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap();
    drop((answer, client, health));
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();

    // Calls are measured as requests are.
    let metrics = app.metrics.render(&[]);
    for line in [
        r#"docsgate_copilot_requests_total{route="search",protocol="grpc",status="200"} 2"#,
        r#"docsgate_copilot_requests_total{route="search",protocol="grpc",status="400"} 1"#,
        r#"docsgate_copilot_requests_total{route="search",protocol="grpc",status="403"} 2"#,
        r#"docsgate_copilot_requests_total{route="chat",protocol="grpc",status="200"} 1"#,
        r#"docsgate_copilot_requests_total{route="health",protocol="grpc",status="200"} 1"#,
        r#"docsgate_copilot_request_seconds_count{route="search",protocol="grpc"} 5"#,
        "docsgate_copilot_grant_refusals_total 2",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}
