{{/*
The spec: every value but the chart's own, as it was given. What was not given is left to the definition's defaults, and
what makes a Secret here becomes that Secret's name.
*/}}
{{- define "stack.spec" -}}
{{- $spec := omit (deepCopy .Values) "name" "labels" "annotations" "global" -}}
{{- $license := include "stack.license" . | fromYaml -}}
{{- $_ := set $spec "license" $license -}}
{{- if (($spec.gateway | default dict).tls | default dict).crt -}}
{{- $_ := set $spec.gateway "tls" (dict "secretName" (include "stack.secretName.gatewayTls" .)) -}}
{{- end -}}
{{- if (($spec.ingress | default dict).tls | default dict).crt -}}
{{- $_ := set $spec.ingress "tls" (dict "secretName" (include "stack.secretName.ingressTls" .)) -}}
{{- end -}}
{{- include "stack.withoutNulls" $spec -}}
{{- range $field, $value := $spec -}}
{{- if not $value -}}
{{- $_ := unset $spec $field -}}
{{- end -}}
{{- end -}}
{{- toYaml $spec -}}
{{- end -}}

{{/* Takes out of a map, and of all that is in it, what is null: that is how values say "not given". */}}
{{- define "stack.withoutNulls" -}}
{{- $map := . -}}
{{- range $key, $value := $map -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $map $key -}}
{{- else if kindIs "map" $value -}}
{{- include "stack.withoutNulls" $value -}}
{{- else if kindIs "slice" $value -}}
{{- range $value }}{{ if kindIs "map" . }}{{ include "stack.withoutNulls" . }}{{ end }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "stack.license" -}}
{{- $given := .Values.license | default dict -}}
{{- $license := omit (deepCopy $given) "jwt" "extraKeys" "usageApiKey" -}}
{{- if $given.jwt -}}
{{- $_ := set $license "secretName" (include "stack.secretName.license" .) -}}
{{- $_ := set $license "key" "license.jwt" -}}
{{- if $given.extraKeys -}}
{{- $_ := set $license "extraKeysKey" "license-keys.json" -}}
{{- end -}}
{{- if $given.usageApiKey -}}
{{- $_ := set $license "usageApiKeyKey" "usage-api-key" -}}
{{- end -}}
{{- end -}}
{{- range $field, $value := $license -}}
{{- if not $value -}}
{{- $_ := unset $license $field -}}
{{- end -}}
{{- end -}}
{{- toYaml $license -}}
{{- end -}}
