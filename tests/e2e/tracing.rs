//! One trace from Envoy through authz to copilot, as a real receiver of OTLP gets it, with the bootstrap that the chart renders.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use docsgate_harness::authz::Authz;
use docsgate_harness::copilot::{Copilot, Options, verify_key};
use docsgate_harness::envoy::{self, Envoy};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
    logs_service_server::{LogsService, LogsServiceServer},
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

use crate::chart::release::Release;
use crate::gate::{Gate, eventually, nobody, ok, problem};

/// A receiver that keeps every span with the name of its service.
#[derive(Debug, Clone, Default)]
struct Receiver(Arc<Mutex<Vec<(String, Span)>>>, Arc<Mutex<Vec<String>>>);

#[tonic::async_trait]
impl LogsService for Receiver {
    async fn export(
        &self,
        request: tonic::Request<ExportLogsServiceRequest>,
    ) -> Result<tonic::Response<ExportLogsServiceResponse>, tonic::Status> {
        use opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue;
        let scopes = request.into_inner().resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
        for record in scopes.flat_map(|scope| scope.log_records) {
            assert_eq!(record.event_name, "docsgate.decision");
            if let Some(StringValue(body)) = record.body.and_then(|body| body.value) {
                self.1.lock().unwrap().push(body);
            }
        }
        Ok(tonic::Response::new(ExportLogsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let mut spans = self.0.lock().unwrap();
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.map(|resource| resource.attributes).unwrap_or_default();
            let service = text(&attributes, "service.name");
            let own = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.extend(own.map(|span| (service.clone(), span)));
        }
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

fn text(attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue], name: &str) -> String {
    use opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue;
    let value = attributes.iter().find(|attribute| attribute.key == name).and_then(|one| one.value.clone()?.value);
    match value {
        Some(StringValue(text)) => text,
        _ => String::new(),
    }
}

impl Receiver {
    /// Listens on a port of its own, on a thread of its own.
    fn start() -> (Self, SocketAddr) {
        let receiver = Self::default();
        let (spans, records) = (TraceServiceServer::new(receiver.clone()), LogsServiceServer::new(receiver.clone()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
                let server = tonic::transport::Server::builder().add_service(spans).add_service(records);
                server.serve_with_incoming(incoming).await.unwrap();
            });
        });
        (receiver, address)
    }

    /// The spans of the trace in which `service` has one with this request id.
    fn trace(&self, service: &str, id: &str) -> Option<Vec<(String, Span)>> {
        let spans = self.0.lock().unwrap();
        let (_, one) =
            spans.iter().find(|(own, span)| own == service && text(&span.attributes, "docsgate.request_id") == id)?;
        Some(spans.iter().filter(|(_, span)| span.trace_id == one.trace_id).cloned().collect())
    }
}

/// The gate again, with everything told where the receiver is.
fn traced(gate: &mut Gate, collector: SocketAddr, percent: u32) -> (Envoy, Copilot) {
    let variables =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{collector}")), ("OTEL_BSP_SCHEDULE_DELAY", "100".to_owned())];
    gate.stack.authz.process.kill();
    gate.stack.authz_options.env.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    gate.stack.authz = Authz::start(&gate.stack.authz_options).unwrap();
    let folder = gate.folder.path().join("traced");
    std::fs::create_dir_all(&folder).unwrap();
    let index = gate.folder.path().join("index");
    let corpora = ["public", "member"].map(|corpus| (corpus.to_owned(), index.join(format!("{corpus}.docsgate"))));
    let copilot = Copilot::start(&Options {
        folder: folder.clone(),
        corpora: corpora.to_vec(),
        grant_key: gate.stack.grant_key.clone(),
        verify_key: verify_key(&index),
        extra: Vec::new(),
        env: variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
    })
    .unwrap();

    let mut bootstrap = rendered();
    let hcm = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/tracing/random_sampling/value";
    *bootstrap.pointer_mut(hcm).unwrap() = percent.into();
    let (host, port) = copilot.address.rsplit_once(':').unwrap();
    let log = folder.join("access.jsonl");
    let addresses = envoy::Addresses {
        listen: "127.0.0.1:0".parse().unwrap(),
        authz_socket: gate.stack.authz.socket.clone(),
        backend: (host.to_owned(), port.parse().unwrap()),
        backend_grpc: None,
    };
    envoy::place_patiently(&mut bootstrap, &addresses, &log).unwrap();
    let clusters = bootstrap["static_resources"]["clusters"].as_array_mut().unwrap();
    let otlp = clusters.iter_mut().find(|cluster| cluster["name"] == "otlp").unwrap();
    let port = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address/port_value";
    *otlp.pointer_mut(port).unwrap() = json!(collector.port());
    (Envoy::start_with(&bootstrap, log, &folder).unwrap(), copilot)
}

/// The bootstrap that the chart renders with tracing on.
fn rendered() -> Value {
    let release = Release::of(
        "traced",
        &[],
        &[
            "tracing.enabled=true",
            "tracing.host=127.0.0.1",
            "networkPolicy.enabled=false",
            "tracing.samplingPercent=100",
        ],
    );
    let objects = release.objects();
    let map = objects.iter().find(|object| object["metadata"]["name"] == "docs-envoy").unwrap();
    serde_saphyr::from_str(map["data"]["envoy.yaml"].as_str().unwrap()).unwrap()
}

#[test]
fn one_trace_leads_from_envoy_through_authz_to_copilot() {
    let (receiver, collector) = Receiver::start();
    let mut gate = Gate::start();
    let (envoy, copilot) = traced(&mut gate, collector, 100);
    // A client's own trace is not joined.
    let theirs = "4bf92f3577b34da6a3ce929d0e0e4736";
    let asked = gate
        .http
        .get(format!("{}/api/docs-search?q=tides", envoy.url()))
        .header("traceparent", format!("00-{theirs}-00f067aa0ba902b7-01"));
    let id = ok(asked.send().unwrap())["request_id"].as_str().unwrap().to_owned();
    let trace = eventually("the whole trace", || {
        let trace = receiver.trace("copilot", &id)?;
        let services = ["authz", "copilot", "docsgate-envoy"];
        services.iter().all(|service| trace.iter().any(|(own, _)| own == service)).then_some(trace)
    });
    let span = |service: &str, name: &str| {
        let found = trace.iter().find(|(own, span)| own == service && span.name.contains(name));
        &found.unwrap_or_else(|| panic!("no span {name} of {service} in {trace:#?}")).1
    };
    let (check, answer) = (span("authz", "check"), span("copilot", "answer"));
    // Their parents are Envoy's: the call to authz, and the request to copilot; and those begin in Envoy's first.
    let mut parents = Vec::new();
    for own in [check, answer] {
        let parent =
            trace.iter().find(|(_, span)| span.span_id == own.parent_span_id).expect("the parent is in the trace");
        assert_eq!(parent.0, "docsgate-envoy");
        parents.push(parent.1.span_id.clone());
    }
    assert_eq!(trace.iter().filter(|(_, span)| span.parent_span_id.is_empty()).count(), 1, "one beginning: {trace:#?}");
    assert_ne!(hex(&check.trace_id), theirs);
    for (name, value) in [("docsgate.route", "search"), ("docsgate.outcome", "allowed"), ("docsgate.corpora", "public")]
    {
        assert_eq!(text(&check.attributes, name), value, "{check:#?}");
    }
    assert!(text(&answer.attributes, "docsgate.index_version").starts_with("public:"), "{answer:#?}");

    // A refusal says why; no token and no address is in any span.
    let token = gate.token("somebody@example.org");
    let refused = gate.http.get(format!("{}/nowhere", envoy.url())).bearer_auth(&token).send().unwrap();
    let id = problem(refused, 404, "no_route")["request_id"].as_str().unwrap().to_owned();
    let trace = eventually("the trace of a refusal", || receiver.trace("authz", &id));
    let (_, check) = trace.iter().find(|(own, _)| own == "authz").unwrap();
    assert_eq!(text(&check.attributes, "docsgate.reason"), "no_route");
    let all = format!(
        "{:?}",
        receiver.0.lock().unwrap().iter().filter(|(own, _)| own != "docsgate-envoy").collect::<Vec<_>>()
    );
    assert!(!all.contains(&token) && !all.contains("127.0.0.1") && !all.contains("somebody"), "{all}");
    drop((envoy, copilot));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A collector that is away is nobody's problem, and the process still ends in time.
#[test]
fn a_collector_that_is_away_costs_no_answer() {
    let (_held, nobody) = nobody();
    let mut gate = Gate::start();
    let (envoy, copilot) = traced(&mut gate, nobody, 100);
    for _ in 0..50 {
        ok(gate.http.get(format!("{}/api/docs-search?q=tides", envoy.url())).send().unwrap());
    }
    for process in [&gate.stack.authz.process, &copilot.process] {
        let ended = process.stop(std::time::Duration::from_secs(20));
        assert!(ended.is_some_and(|status| status.success()), "{}", process.obituary());
    }
}

/// The decision log, as log records: the same lines as in a file, and none is lost when the process ends.
#[test]
fn decisions_are_told_to_a_collector_of_logs() {
    let (receiver, collector) = Receiver::start();
    let mut gate = Gate::start();
    gate.stack.authz.process.kill();
    gate.stack.authz_options.env.push(("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT".to_owned(), format!("http://{collector}")));
    gate.stack.authz_options.extra.push("--decision-log=otlp".to_owned());
    gate.stack.authz = Authz::start(&gate.stack.authz_options).unwrap();
    let token = gate.member_token();
    let mut ids = Vec::new();
    for _ in 0..30 {
        let answer = ok(gate.search("a private question").bearer_auth(&token).send().unwrap());
        ids.push(answer["request_id"].as_str().unwrap().to_owned());
    }
    assert!(gate.stack.authz.process.stop(std::time::Duration::from_secs(20)).unwrap().success());
    let bodies = receiver.1.lock().unwrap().clone();
    let told: Vec<Value> = bodies.iter().map(|body| serde_json::from_str(body).unwrap()).collect();
    for id in &ids {
        assert_eq!(told.iter().filter(|line| line["id"] == id.as_str()).count(), 1, "{id}");
    }
    assert!(told.iter().all(|line| line["schema"] == "docsgate.decision/v1"));
    assert!(!bodies.iter().any(|body| body.contains(&token) || body.contains("private")), "{bodies:?}");
    // Nobody to tell: said at the start.
    gate.stack.authz_options.env.clear();
    let refused = format!("{:#}", Authz::start(&gate.stack.authz_options).unwrap_err());
    assert!(refused.contains("--decision-log otlp: set OTEL_EXPORTER_OTLP_ENDPOINT"), "{refused}");
}

/// What Envoy does not sample nobody records, and what is in no trace, such as a probe, begins none. All spans are sent before a
/// process ends, so that none can come later.
#[test]
fn what_envoy_does_not_sample_is_recorded_by_nobody() {
    let (receiver, collector) = Receiver::start();
    let mut gate = Gate::start();
    let (envoy, copilot) = traced(&mut gate, collector, 0);
    for _ in 0..20 {
        ok(gate.http.get(format!("{}/api/docs-search?q=tides", envoy.url())).send().unwrap());
        assert_eq!(gate.http.get(format!("{}/healthz", copilot.url())).send().unwrap().status(), 200);
    }
    for process in [&gate.stack.authz.process, &copilot.process] {
        assert!(process.stop(std::time::Duration::from_secs(20)).is_some_and(|status| status.success()));
    }
    let spans = receiver.0.lock().unwrap();
    assert!(spans.is_empty(), "{spans:#?}");
}
