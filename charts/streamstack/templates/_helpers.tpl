{{- define "stack.name" -}}
{{- .Values.name | default .Release.Name -}}
{{- end -}}

{{- define "stack.labels" -}}
app.kubernetes.io/name: streamstack
app.kubernetes.io/instance: {{ include "stack.name" . | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/*
metadata of a Secret: (dict "root" $ "name" <name> "component" <component>).
Sessions that drain outlive the release: a proxy or gateway that restarts meanwhile has to find its Secret, and owner
references are nothing Helm can set, since the stack's uid is not known yet. So Helm leaves it.
*/}}
{{- define "stack.secretMetadata" -}}
name: {{ .name }}
namespace: {{ .root.Release.Namespace | quote }}
labels:
  {{- include "stack.labels" .root | nindent 2 }}
  app.kubernetes.io/component: {{ .component }}
{{- if (.root.Values.drain | default dict).onDelete }}
annotations:
  helm.sh/resource-policy: keep
{{- end }}
{{- end -}}

{{- define "stack.secretName.license" -}}{{ include "stack.name" . }}-license{{- end -}}
{{- define "stack.secretName.gatewayTls" -}}{{ include "stack.name" . }}-gateway-tls{{- end -}}
{{- define "stack.secretName.ingressTls" -}}{{ include "stack.name" . }}-ingress-tls{{- end -}}
