{{- define "docsgate.labels" -}}
app.kubernetes.io/name: docsgate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "docsgate.selector" -}}
app.kubernetes.io/name: docsgate
app.kubernetes.io/instance: {{ .Release.Name }}
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
