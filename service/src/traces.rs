//! Traces over OTLP (gRPC), the same for authz and copilot: one span a request, in the trace that Envoy began. And log records, for
//! the decision log.
//!
//! Off unless `OTEL_EXPORTER_OTLP_ENDPOINT` (or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`) names a collector; then the SDK's other
//! variables count as well (`OTEL_TRACES_SAMPLER`, `OTEL_BSP_…`, `OTEL_RESOURCE_ATTRIBUTES`). Parents are read from W3C Trace
//! Context headers; what they say of sampling is followed. Spans wait in a bounded queue for a thread of its own: a collector
//! that is slow or away costs a request nothing, and spans are dropped when the queue is full.

use std::{env, fmt, time::Duration};

use opentelemetry::{
    Context, KeyValue, Value,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{Span as _, SpanKind, Status, Tracer as _, TracerProvider as _},
};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracer, SdkTracerProvider},
};

/// Most time for the last spans when the process ends.
pub(crate) const FINISH: Duration = Duration::from_secs(3);
/// Longest accepted header of a parent; a longer one is no parent.
const MAX_HEADER_BYTES: usize = 1024;

/// Whether a variable is set to anything.
fn named(name: &str) -> bool {
    env::var(name).is_ok_and(|value| !value.trim().is_empty())
}

/// The variable that names a collector: the signal's own, or that of all signals. None where the SDK is switched off.
pub(crate) fn endpoint(own: &'static str) -> Option<&'static str> {
    let disabled = env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
    [own, "OTEL_EXPORTER_OTLP_ENDPOINT"].into_iter().find(|name| !disabled && named(name))
}

/// Who sends: `OTEL_SERVICE_NAME`, or `service`.
pub(crate) fn resource(service: &'static str, version: &'static str) -> Resource {
    let builder = match env::var("OTEL_SERVICE_NAME") {
        Ok(name) if !name.is_empty() => Resource::builder(),
        _ => Resource::builder().with_service_name(service),
    };
    builder.with_attribute(KeyValue::new("service.version", version)).build()
}

/// Where spans go, or nowhere.
#[derive(Clone, Default)]
pub struct Traces(Option<On>);

#[derive(Clone)]
struct On {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// As the environment says, under the name `service` unless `OTEL_SERVICE_NAME` gives another. Within a Tokio runtime.
    ///
    /// # Errors
    /// A sentence, when an endpoint is named that cannot be used.
    pub fn from_environment(service: &'static str, version: &'static str) -> Result<Self, String> {
        let Some(endpoint) = endpoint("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") else { return Ok(Self::default()) };
        let exporter = SpanExporter::builder().with_tonic().build().map_err(|error| {
            format!("{endpoint}: {error}; expected http(s)://HOST:4317, a collector that takes OTLP over gRPC")
        })?;
        let resource = resource(service, version);
        let mut builder = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource);
        if !named("OTEL_TRACES_SAMPLER") {
            // Envoy says which requests are traced. One that is in no trace, such as a probe, begins none here.
            builder = builder.with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)));
        }
        let provider = builder.build();
        let tracer = provider.tracer(service);
        Ok(Self(Some(On { provider, tracer })))
    }

    /// Begins the span of one request. `header` gives what the caller sent under a lower-case name.
    pub fn begin<'h>(&self, name: &'static str, header: impl Fn(&str) -> Option<&'h str>) -> Span {
        let Some(on) = &self.0 else { return Span(None) };
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers::of(header));
        Span(Some(on.tracer.span_builder(name).with_kind(SpanKind::Server).start_with_context(&on.tracer, &parent)))
    }

    /// Sends what is left, for at most three seconds. Blocks.
    pub fn finish(&self) {
        if let Some(on) = &self.0 {
            // Nobody is left to be told.
            let _ = on.provider.shutdown_with_timeout(FINISH);
        }
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Traces").field(&self.0.is_some()).finish()
    }
}

/// The span of one request; it ends when it goes out of scope. Does nothing where traces are off or the parent is not sampled.
#[derive(Debug)]
pub struct Span(Option<opentelemetry_sdk::trace::Span>);

impl Span {
    /// Whether attributes are worth gathering.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.0.as_ref().is_some_and(opentelemetry::trace::Span::is_recording)
    }

    /// Sets an attribute.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.0 {
            span.set_attribute(KeyValue::new(name, value));
        }
    }

    /// Marks the span as failed.
    pub fn fail(&mut self, why: &'static str) {
        if let Some(span) = &mut self.0 {
            span.set_status(Status::error(why));
        }
    }
}

/// The headers of W3C Trace Context, as they were sent.
struct Headers<'h> {
    parent: Option<&'h str>,
    state: Option<&'h str>,
}

impl<'h> Headers<'h> {
    fn of(header: impl Fn(&str) -> Option<&'h str>) -> Self {
        let bounded = |name| header(name).filter(|value| value.len() <= MAX_HEADER_BYTES);
        Self { parent: bounded("traceparent"), state: bounded("tracestate") }
    }
}

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => self.parent,
            "tracestate" => self.state,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parent_of(traceparent: &str) -> bool {
        use opentelemetry::trace::TraceContextExt as _;
        let header = |name: &str| (name == "traceparent").then_some(traceparent);
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers::of(header));
        context.span().span_context().is_valid()
    }

    #[test]
    fn a_parent_is_taken_when_it_is_one_and_never_breaks_anything() {
        assert!(parent_of("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        let long = "0".repeat(5000);
        for other in ["", "00", "00-0-0-0", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "é-é-é-é", &long]
        {
            assert!(!parent_of(other), "{other}");
        }
    }

    #[test]
    fn without_an_endpoint_nothing_is_recorded() {
        let mut span = Traces::default().begin("check", |_| None);
        span.set("route", "x");
        assert!(!span.is_recording());
    }
}
