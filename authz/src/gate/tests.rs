//! The engine in a process of somebody else's: without a listener, a signal handler or a log of its own.

use std::{fs, net::IpAddr};

use clap::Parser;

use super::*;
use crate::answer::{Answer, Reply};

const POLICY: &str = "
apiVersion: docsgate/v1
kind: Policy
corpora: {public: {}}
limits: {flood: {key: client_ip, rate: 600/min, burst: 100}}
cors: {docs: {allow_origins: ['https://docs.example.org'], allow_methods: [GET], max_age: 10m}}
routes: [{name: search, match: {path: /search, methods: [GET]}, cors: docs, corpus: public, limits: [flood]}]
";

#[derive(Parser)]
struct Embedding {
    #[command(flatten)]
    gate: GateConfig,
}

fn build(folder: &std::path::Path, extra: &[&str]) -> Result<Arc<Gate>, UsageError> {
    let (policy, keys) = (folder.join("policy.yaml"), folder.join("grant.keys"));
    fs::write(&policy, POLICY).unwrap();
    fs::write(&keys, format!("one:{}\n", "A".repeat(44))).unwrap();
    let paths = [policy, keys].map(|path| path.display().to_string());
    let flags = ["embedding", "--policy", &paths[0], "--grant-key-file", &paths[1]];
    Gate::build(&Embedding::parse_from([&flags, extra].concat()).gate)
}

fn request<'a>(method: &'a str, path: &'a str, headers: &[(&'a str, &'a str)]) -> RawRequest<'a> {
    RawRequest {
        id: "1f2e",
        method,
        host: "docs.example.org",
        path,
        headers: headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect(),
        peer: Some(IpAddr::from([192, 0, 2, 7])),
    }
}

#[tokio::test]
async fn it_answers_without_a_front_end() {
    let folder = tempfile::tempdir().unwrap();
    let gate = build(folder.path(), &[]).unwrap();
    gate.readiness().unwrap();

    let asked = request("GET", "/search?q=a", &[("origin", "https://docs.example.org"), ("cookie", "a=b")]);
    let Answer::Forward(forward) = gate.check(Ok(asked), |_| None).await else { panic!("refused") };
    let names: Vec<&str> = forward.set.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, [render::GRANT_HEADER, render::CORPUS_HEADER]);
    assert_eq!(forward.remove, ["authorization", "cookie", "x-api-key", render::MEMBER_HEADER]);
    assert!(forward.response.iter().any(|header| header.line.0 == "ratelimit"));
    assert!(forward.response.iter().filter(|header| header.append).all(|header| header.line.0 == "vary"));
    assert!(forward.metadata.contains(&("route", "search".to_owned())));

    let lines = [("origin", "https://docs.example.org"), ("access-control-request-method", "GET")];
    let Answer::Reply(preflight) = gate.check(Ok(request("OPTIONS", "/search", &lines)), |_| None).await else {
        panic!("forwarded")
    };
    assert_eq!((preflight.status, preflight.body.as_str()), (204, ""));
    let Answer::Reply(Reply { status, body, .. }) = gate.check(Ok(request("GET", "/", &[])), |_| None).await else {
        panic!("forwarded")
    };
    assert!(status == 404 && body.contains("urn:docsgate:problem:no_route") && body.contains("1f2e"), "{body}");
    let undescribed = gate.check(Err(RequestFault::Undescribed("x-original-url")), |_| None).await;
    let Answer::Reply(Reply { status: 400, body, .. }) = undescribed else { panic!("{undescribed:?}") };
    assert!(!body.contains("x-original-url"), "what the proxy got wrong is not the client's business: {body}");

    let counted = gate.audit.log.latest(10);
    assert_eq!(counted.iter().filter(|record| record.decision.status == 404).count(), 1);
    gate.finish();
}

#[tokio::test]
async fn what_cannot_be_used_is_said_with_its_flag() {
    let folder = tempfile::tempdir().unwrap();
    for (flags, says) in [
        (&["--database-url", "mysql://x"][..], "DATABASE_URL: "),
        (&["--redis-url", "http://x"], "the Redis URL cannot be used"),
        (&["--candidate-policy", "/nowhere"], "--candidate-policy: "),
        (&["--database-listen-url", "postgres://x/y"], "no DATABASE_URL to read from"),
    ] {
        let fault = build(folder.path(), flags).map(|_| ()).unwrap_err();
        assert!(fault.to_string().contains(says), "{fault}");
    }
}
