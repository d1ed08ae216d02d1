{{- define "docsgate.labels" -}}
app.kubernetes.io/name: docsgate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Labels that select the pods of one component: "gate" or "copilot". */}}
{{- define "docsgate.selector" -}}
app.kubernetes.io/name: docsgate
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* An image by digest or by tag; one of the two must be given. */}}
{{- define "docsgate.image" -}}
{{- $image := index .root.Values.image .name -}}
{{- $repository := required (printf "set image.%s.repository" .name) $image.repository -}}
{{- if $image.digest -}}
{{ $repository }}@{{ $image.digest }}
{{- else -}}
{{ $repository }}:{{ required (printf "set image.%s.tag or image.%s.digest" .name .name) $image.tag }}
{{- end -}}
{{- end }}

{{/* Pod Security "restricted" for every container. */}}
{{- define "docsgate.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* What every pod has in common. */}}
{{- define "docsgate.pod" -}}
serviceAccountName: {{ .Release.Name }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Replicas apart from each other: by node, and by zone where nodes have one. */}}
{{- define "docsgate.spread" -}}
{{- if .root.Values.topologySpread.enabled }}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "docsgate.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Where a secret comes from: an existing Secret, an ExternalSecret or a SealedSecret; exactly one of them.
     Takes root, what (for the message), existing (its name), field (of externalSecrets and sealedSecrets), required. */}}
{{- define "docsgate.secretName" -}}
{{- $external := dig .field "key" "" .root.Values.externalSecrets -}}
{{- $sealed := dig .field "" .root.Values.sealedSecrets -}}
{{- $given := list -}}
{{- if .existing }}{{ $given = append $given .what }}{{ end -}}
{{- if $external }}{{ $given = append $given (printf "externalSecrets.%s" .field) }}{{ end -}}
{{- if $sealed }}{{ $given = append $given (printf "sealedSecrets.%s" .field) }}{{ end -}}
{{- if gt (len $given) 1 }}{{ fail (printf "%s are all set and name one secret: keep one of them" (join " and " $given)) }}{{ end -}}
{{- if .existing }}{{ .existing }}
{{- else if $given }}{{ .root.Release.Name }}-{{ .field | kebabcase }}
{{- else if .required }}{{ fail (printf "set %s to the name of a Secret with the key %s, or externalSecrets.%s, or sealedSecrets.%s" .what .key .field .field) }}
{{- end -}}
{{- end }}

{{- define "docsgate.grantSecret" -}}
{{- include "docsgate.secretName" (dict "root" . "what" "grantKeySecret" "existing" .Values.grantKeySecret "field" "grantKey" "key" "grant.keys" "required" true) -}}
{{- end }}

{{- define "docsgate.databaseSecret" -}}
{{- include "docsgate.secretName" (dict "root" . "what" "databaseSecret" "existing" .Values.databaseSecret "field" "databaseUrl" "key" "url" "required" false) -}}
{{- end }}

{{- define "docsgate.redisSecret" -}}
{{- include "docsgate.secretName" (dict "root" . "what" "redisSecret" "existing" .Values.redisSecret "field" "redisUrl" "key" "url" "required" false) -}}
{{- end }}

{{- define "docsgate.migrationsSecret" -}}
{{- include "docsgate.secretName" (dict "root" . "what" "migrations.databaseSecret" "existing" .Values.migrations.databaseSecret "field" "migrationsUrl" "key" "url" "required" true) -}}
{{- end }}

{{- define "docsgate.llmSecret" -}}
{{- include "docsgate.secretName" (dict "root" . "what" "copilot.llm.keySecret" "existing" .Values.copilot.llm.keySecret "field" "llmKey" "key" "key" "required" false) -}}
{{- end }}

{{/* The port of the model's server: the one that is set, else that of its address. */}}
{{- define "docsgate.llmPort" -}}
{{- $url := .Values.copilot.llm.baseUrl | default "https://api.openai.com/v1" | urlParse -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "443" "80" (eq $url.scheme "https")) -}}
{{- dig "port" $port .Values.networkPolicy.egress.llm -}}
{{- end }}

{{/* The copilot container, beside Envoy on loopback or in a pod of its own. */}}
{{- define "docsgate.copilot" -}}
{{- $listen := ternary "0.0.0.0" "127.0.0.1" .Values.copilot.separate -}}
- name: copilot
  image: {{ include "docsgate.image" (dict "root" . "name" "copilot") }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  {{- if not .Values.copilot.separate }}
  restartPolicy: Always
  {{- end }}
  args:
    - serve
    - --cache-dir=/var/cache/docsgate
    - --cache-size={{ .Values.copilot.cacheSize }}B
    {{- range $name, $source := .Values.copilot.corpora }}
    - --corpus={{ $name }}={{ $source }}
    {{- end }}
    {{- range .Values.copilot.extraArgs }}
    - {{ . | quote }}
    {{- end }}
  env:
    - {name: DOCSGATE_COPILOT_LISTEN, value: "{{ $listen }}:8081"}
    - {name: DOCSGATE_COPILOT_GRPC_LISTEN, value: "{{ $listen }}:8082"}
    # What readers asked in vain is the operators': loopback. Prometheus and the kubelet have another listener.
    - {name: DOCSGATE_COPILOT_ADMIN_LISTEN, value: "127.0.0.1:9903"}
    - {name: DOCSGATE_COPILOT_METRICS_LISTEN, value: "0.0.0.0:9905"}
    - {name: DOCSGATE_GRANT_KEY_FILE, value: /etc/docsgate/grant/grant.keys}
    {{- if .Values.copilot.verifyKeySecret }}
    - {name: DOCSGATE_COPILOT_VERIFY_KEY_FILE, value: /etc/docsgate/verify/key}
    {{- end }}
    {{- if .Values.copilot.allowUnsigned }}
    - {name: DOCSGATE_COPILOT_ALLOW_UNSIGNED, value: "true"}
    {{- end }}
    {{- with .Values.copilot.llm }}
    {{- if .model }}
    - {name: DOCSGATE_COPILOT_LLM_MODEL, value: {{ .model | quote }}}
    - {name: DOCSGATE_COPILOT_LLM_API, value: {{ .api }}}
    {{- if .baseUrl }}
    - {name: {{ ternary "OLLAMA_BASE_URL" "OPENAI_API_BASE_URL" (eq .api "ollama") }}, value: {{ .baseUrl | quote }}}
    {{- end }}
    {{- if include "docsgate.llmSecret" $ }}
    - {name: OPENAI_API_KEY_FILE, value: /etc/docsgate/llm/key}
    {{- end }}
    - {name: DOCSGATE_COPILOT_LLM_MAX_TOKENS, value: {{ .maxTokens | int64 | quote }}}
    - {name: DOCSGATE_COPILOT_LLM_TIMEOUT, value: {{ .timeout | quote }}}
    - {name: DOCSGATE_COPILOT_LLM_TOKENS_PER_CALLER, value: {{ .tokensPerDay.caller | int64 | quote }}}
    - {name: DOCSGATE_COPILOT_LLM_TOKENS_ANONYMOUS, value: {{ .tokensPerDay.anonymous | int64 | quote }}}
    - {name: DOCSGATE_COPILOT_LLM_TOKENS_PER_SITE, value: {{ .tokensPerDay.site | int64 | quote }}}
    {{- end }}
    {{- end }}
    {{- include "docsgate.tracingEnv" . | indent 4 }}
    {{- with .Values.copilot.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.copilot.envFromSecret }}
  envFrom: [{secretRef: {name: {{ . }}}}]
  {{- end }}
  ports:
    - {name: copilot-http, containerPort: 8081}
    - {name: copilot-grpc, containerPort: 8082}
    - {name: copilot-metrics, containerPort: 9905}
  startupProbe: {httpGet: {path: /healthz, port: copilot-metrics}, periodSeconds: 1, failureThreshold: 60}
  readinessProbe: {httpGet: {path: /readyz, port: copilot-metrics}, periodSeconds: 5}
  livenessProbe: {httpGet: {path: /healthz, port: copilot-metrics}, periodSeconds: 10}
  securityContext: {{- include "docsgate.security" . | nindent 4 }}
  resources: {{- toYaml .Values.resources.copilot | nindent 4 }}
  volumeMounts:
    {{- if .Values.copilot.artifacts }}
    - {name: artifacts, mountPath: /artifacts, readOnly: true}
    {{- end }}
    - {name: cache, mountPath: /var/cache/docsgate}
    - {name: grant, mountPath: /etc/docsgate/grant, readOnly: true}
    {{- if .Values.copilot.verifyKeySecret }}
    - {name: verify, mountPath: /etc/docsgate/verify, readOnly: true}
    {{- end }}
    {{- if include "docsgate.llmSecret" . }}
    - {name: llm, mountPath: /etc/docsgate/llm, readOnly: true}
    {{- end }}
{{- end }}

{{/* Its volumes, without the grant keys, which the gate has as well. */}}
{{- define "docsgate.copilotVolumes" -}}
- name: cache
  # What is served and the version before it stay even past the cache's size, and an artifact is fetched beside them.
  emptyDir: {sizeLimit: {{ mul 2 (regexFind "^[0-9]+" .Values.copilot.cacheSize | int) }}{{ regexFind "[MG]i$" .Values.copilot.cacheSize }}}
{{- with .Values.copilot.artifacts }}
- name: artifacts
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.copilot.verifyKeySecret }}
- name: verify
  secret: {secretName: {{ . }}}
{{- end }}
{{- with include "docsgate.llmSecret" . }}
- name: llm
  secret: {secretName: {{ . }}}
{{- end }}
{{- end }}

{{/* The bootstrap, with copilot's Service in the place of loopback where copilot has pods of its own. */}}
{{- define "docsgate.envoyBootstrap" -}}
{{- $bootstrap := .Files.Get "files/envoy.yaml" -}}
{{- if .Values.copilot.separate -}}
{{- $host := printf "%s-copilot.%s.svc.%s" .Release.Name .Release.Namespace .Values.clusterDomain -}}
{{- range $name, $port := dict "copilot" "8081" "copilot-grpc" "8082" -}}
{{- $bootstrap = $bootstrap | replace (printf "- name: %s\n      type: STATIC" $name) (printf "- name: %s\n      type: STRICT_DNS\n      dns_refresh_rate: 5s\n      respect_dns_ttl: true" $name) -}}
{{- $bootstrap = $bootstrap | replace (printf "{address: 127.0.0.1, port_value: %s}" $port) (printf "{address: %s, port_value: %s}" $host $port) -}}
{{- end -}}
{{- end -}}
{{- if .Values.tracing.enabled -}}
{{- $filters := "                http_filters:\n                  - name: envoy.filters.http.ext_authz" -}}
{{- $bootstrap = $bootstrap | replace $filters (printf "%s\n%s" (include "docsgate.envoyTracing" . | trim | indent 16) $filters) -}}
{{- $bootstrap = printf "%s\n%s\n" $bootstrap (include "docsgate.otlpCluster" . | trim | indent 4) -}}
{{- end -}}
{{ $bootstrap }}
{{- end }}

{{/* Envoy begins the trace; its call to authz and its request to copilot carry it on. */}}
{{- define "docsgate.envoyTracing" }}
tracing:
  random_sampling: {value: {{ .Values.tracing.samplingPercent }}}
  provider:
    name: envoy.tracers.opentelemetry
    typed_config:
      "@type": type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig
      service_name: docsgate-envoy
      grpc_service: {envoy_grpc: {cluster_name: otlp}, timeout: 1s}
{{- end }}

{{- define "docsgate.otlpCluster" }}
- name: otlp
  type: STRICT_DNS
  connect_timeout: 1s
  typed_extension_protocol_options:
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
      "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
      explicit_http_config: {http2_protocol_options: {}}
  load_assignment:
    cluster_name: otlp
    endpoints:
      - lb_endpoints: [{endpoint: {address: {socket_address: {address: {{ .Values.tracing.host }}, port_value: {{ .Values.tracing.port }}}}}}]
{{- end }}

{{/* The collector, for authz and copilot. They follow what Envoy decided about sampling. */}}
{{- define "docsgate.tracingEnv" }}
{{- if .Values.tracing.enabled }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: "http://{{ .Values.tracing.host }}:{{ .Values.tracing.port }}"}
- {name: OTEL_TRACES_SAMPLER, value: parentbased_always_off}
{{- end }}
{{- end }}
