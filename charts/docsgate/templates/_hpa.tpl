{{/* An autoscaler for one Deployment. Takes root, name, settings. */}}
{{- define "docsgate.hpa" }}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ .root.Release.Name }}-{{ .name }}
  labels: {{- include "docsgate.labels" .root | nindent 4 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ .root.Release.Name }}-{{ .name }}}
  minReplicas: {{ .settings.minReplicas }}
  maxReplicas: {{ .settings.maxReplicas }}
  metrics:
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: {{ .settings.cpuPercent }}}}
    {{- with .settings.requestsPerSecond }}
    # Through a metrics adapter (prometheus-adapter, KEDA): decisions or searches a second and pod.
    - type: Pods
      pods:
        metric: {name: {{ $.settings.metric }}}
        target: {type: AverageValue, averageValue: {{ . | quote }}}
    {{- end }}
  behavior:
    scaleDown: {stabilizationWindowSeconds: 300}
{{- end }}
