//! Values that contradict each other: Helm stops with the sentence that says what to set.

use super::release::{Release, helm};

/// Settings beside those of the bare release, and what must be said.
const TABLE: &[(&[&str], &str)] = &[
    (&["replicas=0"], "replicas is 0 and podDisruptionBudget.enabled is true"),
    (
        &["replicas=0", "podDisruptionBudget.enabled=false", "autoscaling.enabled=true"],
        "set autoscaling.enabled=false or replicas to 1 or more",
    ),
    (
        &["autoscaling.enabled=true", "autoscaling.minReplicas=5", "autoscaling.maxReplicas=2"],
        "autoscaling.minReplicas (5) is more than autoscaling.maxReplicas (2)",
    ),
    (
        &["externalSecrets.grantKey.key=a", "externalSecrets.store.name=vault"],
        "grantKeySecret and externalSecrets.grantKey are all set and name one secret: keep one of them",
    ),
    (
        &["databaseSecret=a", "sealedSecrets.databaseUrl=AgB"],
        "databaseSecret and sealedSecrets.databaseUrl are all set and name one secret",
    ),
    (&["externalSecrets.databaseUrl.key=a"], "set externalSecrets.store.name to the SecretStore that has it"),
    (&["migrations.enabled=true"], "set migrations.databaseSecret to the name of a Secret with the key url"),
    (&["ingress.enabled=true"], "set ingress.host to the name that readers use"),
    (
        &["ingress.enabled=true", "ingress.host=a.example", "ingress.clusterIssuer=x"],
        "set ingress.tlsSecret to the name of the Secret that cert-manager shall write",
    ),
    (&["httpRoute.enabled=true"], "set httpRoute.parentRefs to the Gateway"),
    (&["tracing.enabled=true"], "set tracing.host to a collector"),
    (&["tracing.enabled=true", "tracing.host=otel"], "set networkPolicy.egress.telemetry={port: 4317}"),
    (&["copilot.autoscaling.enabled=true"], "set copilot.separate=true, or scale the gate with autoscaling"),
    (
        &["copilot.corpora.public=s3://a/b", "copilot.corpora.member=s3://a/b"],
        "copilot.artifacts is set, but no corpus of copilot.corpora lies below /artifacts",
    ),
    (&["networkPolicy.from=[]"], "networkPolicy.from is empty, which Kubernetes takes for everybody"),
    (
        &["copilot.separate=true", "copilot.plaintext="],
        "questions, the answers (the members' documents among them) and the signed grants then travel between Envoy and copilot in the clear",
    ),
    (&["copilot.allowUnsigned=true"], "copilot.verifyKeySecret and copilot.allowUnsigned=true contradict each other"),
    (&["copilot.verifyKeySecret="], "or copilot.allowUnsigned=true to serve what nobody has vouched for"),
    (&["copilot.llm.baseUrl=http://vllm/v1"], "set copilot.llm.model to its name"),
    (&["copilot.llm.keySecret=openai"], "set copilot.llm.model to its name"),
    (&["networkPolicy.egress.llm.port=443"], "networkPolicy.egress.llm is set, but copilot.llm.model is not"),
    (&["copilot.llm.model=m"], "set copilot.llm.keySecret to the name of a Secret with the key key"),
    (&["copilot.llm.model=m", "copilot.llm.api=ollama"], "set copilot.llm.baseUrl to its address"),
    (
        &[
            "copilot.llm.model=m",
            "copilot.llm.keySecret=a",
            "externalSecrets.llmKey.key=b",
            "externalSecrets.store.name=v",
        ],
        "copilot.llm.keySecret and externalSecrets.llmKey are all set and name one secret",
    ),
    // By the schema, before any template.
    (&["networkPolicy.from=[{}]"], "networkPolicy.from.0"),
    (&["networkPolicy.metricsFrom=[{}]"], "networkPolicy.metricsFrom.0"),
    (&["copilot.plaintext=yes"], "copilot.plaintext"),
    (&["copilot.llm.model=m", "copilot.llm.baseUrl=https://user:secret@llm/v1"], "copilot.llm.baseUrl"),
    (&["copilot.llm.key=sk-1"], "copilot.llm"),
    (&["replica=3"], "replica"),
    (&["replicas=many"], "replicas"),
    (&["image.authz.tag=latest"], "image.authz.tag"),
    (&["copilot.corpora.public=relative/path"], "copilot.corpora.public"),
    (&["service.type=ExternalName"], "service.type"),
];

#[test]
fn contradictions_stop_with_what_to_set() {
    let bare = Release::of("bare", &[], &[]).settings();
    for (settings, said) in TABLE {
        let all: Vec<String> = bare.iter().cloned().chain(settings.iter().map(ToString::to_string)).collect();
        let output = helm(&["template", "docs"], &[], &all);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(said), "{settings:?}: {error}");
    }
}
