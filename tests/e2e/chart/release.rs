//! Releases to render: values files and switches.

use std::path::PathBuf;
use std::process::{Command, Output};

use docsgate_harness::{paths, tools};
use serde_json::Value;

/// One way to install the chart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Release {
    pub(crate) name: &'static str,
    pub(crate) files: &'static [&'static str],
    extra: &'static [&'static str],
}

/// What every release must be told; the last one counts where copilot is apart.
const IMAGES: [&str; 5] = [
    "image.authz.repository=registry.example.org/docsgate/authz",
    "image.authz.tag=0.1.0",
    "image.copilot.repository=registry.example.org/docsgate/copilot",
    "image.copilot.tag=0.1.0",
    "copilot.plaintext=accept",
];
/// What those without a values file must be told as well.
const BARE: [&str; 5] = [
    INGRESS,
    "grantKeySecret=grant",
    "copilot.verifyKeySecret=index-key",
    "copilot.artifacts.persistentVolumeClaim.claimName=docs-index",
    "copilot.artifacts.persistentVolumeClaim.readOnly=true",
];

/// Who reaches Envoy.
const INGRESS: &str = "networkPolicy.from=[{\"namespaceSelector\":{\"matchLabels\":{\"name\":\"ingress\"}}}]";

impl Release {
    pub(crate) const fn of(name: &'static str, files: &'static [&'static str], extra: &'static [&'static str]) -> Self {
        Self { name, files, extra }
    }

    pub(crate) fn settings(&self) -> Vec<String> {
        let bare: &[&str] = if self.files.is_empty() { &BARE } else { &[] };
        let given = |field: &str| self.extra.iter().any(|setting| setting.starts_with(field));
        let all = IMAGES.iter().chain(bare).chain(self.extra);
        // A digest or another source of a secret takes the place of what is usual.
        all.filter(|setting| !(setting.starts_with("grantKeySecret") && given("externalSecrets.grantKey")))
            .filter(|setting| !(setting.starts_with("grantKeySecret") && given("sealedSecrets.grantKey")))
            .filter(|setting| !(setting.starts_with("copilot.artifacts") && given("copilot.corpora")))
            .map(|setting| (*setting).to_owned())
            .collect()
    }

    /// Every object that Helm renders.
    pub(crate) fn objects(&self) -> Vec<Value> {
        let output = helm(&["template", "docs", "--namespace", "docs"], self.files, &self.settings());
        assert!(output.status.success(), "{}: {}", self.name, String::from_utf8_lossy(&output.stderr));
        serde_saphyr::from_multiple(&String::from_utf8(output.stdout).unwrap()).unwrap()
    }

    /// The pods of its workloads, by the name of the workload.
    pub(crate) fn pods(&self) -> Vec<(String, Value)> {
        let workloads = self.objects().into_iter().filter(|object| object["spec"]["template"]["spec"].is_object());
        workloads
            .map(|workload| {
                let name = workload["metadata"]["name"].as_str().unwrap().to_owned();
                (name, workload["spec"]["template"]["spec"].clone())
            })
            .collect()
    }
}

/// Containers and native sidecars of a pod.
pub(crate) fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers"].into_iter().filter_map(|kind| pod[kind].as_array()).flatten()
}

pub(crate) fn chart() -> PathBuf {
    paths::repository().unwrap().join("charts/docsgate")
}

pub(crate) fn helm(arguments: &[&str], files: &[&str], settings: &[String]) -> Output {
    let mut helm = Command::new(tools::helm().unwrap());
    helm.args(arguments).arg(chart());
    for file in files {
        helm.arg("--values").arg(chart().join(file));
    }
    for setting in settings {
        let json = setting.split_once('=').is_some_and(|(_, value)| value.starts_with(['{', '[', '"']));
        helm.args([if json { "--set-json" } else { "--set" }, setting]);
    }
    helm.output().unwrap()
}

/// Every values file and every switch.
pub(crate) const TABLE: &[Release] = &[
    Release::of("bare", &[], &[]),
    Release::of("doks", &["values-doks.yaml"], &[]),
    Release::of("rke2", &["values-rke2.yaml"], &[]),
    Release::of("burst-doks", &["values-doks.yaml", "values-burst.yaml"], &[]),
    Release::of("burst-rke2", &["values-rke2.yaml", "values-burst.yaml"], &[]),
    Release::of("rke2-apart", &["values-rke2.yaml"], &["copilot.separate=true"]),
    Release::of("apart", &[], &["copilot.separate=true", "copilot.replicas=3"]),
    Release::of("apart-scaled", &[], &["copilot.separate=true", "copilot.autoscaling.enabled=true"]),
    Release::of("scaled", &[], &["autoscaling.enabled=true", "autoscaling.requestsPerSecond=200"]),
    Release::of("nothing-runs", &[], &["replicas=0", "podDisruptionBudget.enabled=false"]),
    Release::of("database", &[], &["databaseSecret=database", "redisSecret=redis"]),
    Release::of("migrations", &[], &["migrations.enabled=true", "migrations.databaseSecret=owner"]),
    Release::of(
        "external-secrets",
        &[],
        &[
            "externalSecrets.store.name=vault",
            "externalSecrets.grantKey={\"key\":\"docs/grant\",\"property\":\"keys\"}",
            "externalSecrets.databaseUrl.key=docs/database",
            "externalSecrets.redisUrl.key=docs/redis",
            "externalSecrets.migrationsUrl.key=docs/owner",
            "migrations.enabled=true",
        ],
    ),
    Release::of(
        "sealed-secrets",
        &[],
        &[
            "sealedSecrets.grantKey=AgBy3i4OJSWK",
            "sealedSecrets.databaseUrl=AgBy3i4OJSWL",
            "sealedSecrets.redisUrl=AgBy3i4OJSWM",
            "sealedSecrets.migrationsUrl=AgBy3i4OJSWN",
            "migrations.enabled=true",
        ],
    ),
    Release::of("ingress", &[], &["ingress.enabled=true", "ingress.host=docs.example.org"]),
    Release::of(
        "ingress-tls",
        &[],
        &[
            "ingress.enabled=true",
            "ingress.className=nginx",
            "ingress.host=docs.example.org",
            "ingress.tlsSecret=docs-tls",
            "ingress.clusterIssuer=letsencrypt",
        ],
    ),
    Release::of(
        "gateway-api",
        &[],
        &["httpRoute.enabled=true", "httpRoute.parentRefs=[{\"name\":\"public\",\"namespace\":\"gateways\"}]"],
    ),
    Release::of("load-balancer", &[], &["service.type=LoadBalancer"]),
    Release::of("no-network-policies", &[], &["networkPolicy.enabled=false"]),
    Release::of(
        "network-policies",
        &[],
        &[
            "networkPolicy.from=[{\"namespaceSelector\":{\"matchLabels\":{\"name\":\"ingress\"}}}]",
            "networkPolicy.metricsFrom=[{\"namespaceSelector\":{\"matchLabels\":{\"name\":\"monitoring\"}}}]",
            "networkPolicy.dns=[{\"namespaceSelector\":{\"matchLabels\":{\"name\":\"kube-system\"}}}]",
            "networkPolicy.egress.postgres={\"port\":6432,\"to\":[{\"ipBlock\":{\"cidr\":\"10.0.0.0/24\"}}]}",
            "networkPolicy.egress.redis={\"port\":6379}",
            "networkPolicy.egress.telemetry={\"port\":4317}",
            "networkPolicy.egress.artifacts={\"port\":443}",
            "copilot.separate=true",
        ],
    ),
    Release::of("model", &[], &["copilot.llm.model=gpt-4.1-mini", "copilot.llm.keySecret=openai"]),
    Release::of(
        "model-in-the-cluster",
        &[],
        &[
            "copilot.separate=true",
            "copilot.llm.model=qwen3",
            "copilot.llm.api=ollama",
            "copilot.llm.baseUrl=http://ollama.models.svc.cluster.local:11434",
            "copilot.llm.tokensPerDay.site=5000000",
            "networkPolicy.egress.llm={\"to\":[{\"namespaceSelector\":{\"matchLabels\":{\"name\":\"models\"}}}]}",
        ],
    ),
    Release::of(
        "model-with-external-key",
        &[],
        &[
            "copilot.llm.model=qwen3",
            "copilot.llm.baseUrl=http://vllm.models.svc/v1",
            "externalSecrets.store.name=vault",
            "externalSecrets.llmKey.key=docs/llm",
            "networkPolicy.egress.llm.port=8000",
        ],
    ),
    Release::of("no-budget", &[], &["podDisruptionBudget.enabled=false", "topologySpread.enabled=false"]),
    Release::of(
        "monitored",
        &[],
        &[
            "monitoring.serviceMonitor.enabled=true",
            "monitoring.prometheusRule.enabled=true",
            "monitoring.dashboards.enabled=true",
        ],
    ),
    Release::of("policy", &[], &["policyFiles={\"more.yaml\":\"limits: {extra: {key: client_ip, rate: 5/s}}\\n\"}"]),
    Release::of(
        "candidate",
        &[],
        &[concat!(
            "candidatePolicy=",
            r#""apiVersion: docsgate/v1\nkind: Policy\n"#,
            r"client_ip: {trusted_hops: 0}\n",
            r#"routes:\n  - {name: health, match: {path: /healthz}, allow: anyone}\n""#
        )],
    ),
    Release::of(
        "traced",
        &[],
        &[
            "tracing.enabled=true",
            "tracing.host=collector.monitoring.svc.cluster.local",
            "networkPolicy.egress.telemetry={\"port\":4317}",
            "copilot.separate=true",
        ],
    ),
    Release::of("logged", &[], &["authz.decisionLog=stdout", "authz.extraArgs=[\"--recent-decisions=10\"]"]),
    Release::of(
        "bucket",
        &[],
        &[
            "copilot.corpora={\"public\":\"s3://docs-index/public\",\"member\":\"s3://docs-index/member\"}",
            "copilot.envFromSecret=spaces",
            "copilot.verifyKeySecret=index-key",
        ],
    ),
    Release::of(
        "digests",
        &[],
        &["image.authz.digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"],
    ),
    Release::of(
        "placed",
        &[],
        &[
            "priorityClassName=docs",
            "nodeSelector={\"pool\":\"docs\"}",
            "tolerations=[{\"key\":\"docs\",\"operator\":\"Exists\"}]",
            "imagePullSecrets=[{\"name\":\"registry\"}]",
            "podLabels={\"team\":\"docs\"}",
            "podAnnotations={\"example.org/note\":\"yes\"}",
            "clusterDomain=k8s.example.org",
        ],
    ),
];
