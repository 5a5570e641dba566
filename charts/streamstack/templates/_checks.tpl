{{/*
Combinations of values that no stack can come of: all that are wrong, in one message, before anything is sent. A schema
cannot say these; what else is wrong with a value, values.schema.json says, and the API server.
*/}}
{{- define "stack.checks" -}}
{{- $problems := concat
  (include "stack.problems.name" . | fromJsonArray)
  (include "stack.problems.license" . | fromJsonArray)
  (include "stack.problems.pools" . | fromJsonArray)
  (include "stack.problems.edge" . | fromJsonArray) -}}
{{- if $problems -}}
{{- fail (printf "these values make no stack:\n- %s\n" (join "\n- " $problems)) -}}
{{- end -}}
{{- end -}}

{{- define "stack.problems.name" -}}
{{- $problems := list -}}
{{- $name := include "stack.name" . -}}
{{- if gt (len $name) 30 -}}
{{- $problems = append $problems (printf "name: %q has %d characters, expected at most 30, since names of pods begin with it; set `name`, or choose a shorter release name" $name (len $name)) -}}
{{- else if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- $problems = append $problems (printf "name: found %q, expected small letters, digits and '-', a letter first and no '-' last, since it is the name of Services; set `name`" $name) -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{- define "stack.problems.license" -}}
{{- $problems := list -}}
{{- $license := .Values.license | default dict -}}
{{- if and (not $license.jwt) (not $license.secretName) -}}
{{- $problems = append $problems "license: none given; pass the file, `--set-file license.jwt=license.jwt` (on an upgrade again, or with --reuse-values), or set license.secretName to a Secret that holds it" -}}
{{- else if and $license.jwt $license.secretName -}}
{{- $problems = append $problems "license: both license.jwt and license.secretName are given; expected one of them" -}}
{{- else if $license.jwt -}}
{{- if not (regexMatch "^[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+$" (trim $license.jwt)) -}}
{{- $problems = append $problems "license.jwt: not a signed license (a JWT: three parts with dots between); a file is passed with --set-file, not with --set" -}}
{{- end -}}
{{- if or $license.key $license.extraKeysKey $license.usageApiKeyKey -}}
{{- $problems = append $problems "license.key, license.extraKeysKey, license.usageApiKeyKey: they name keys of license.secretName; with license.jwt the chart makes the Secret and names its keys" -}}
{{- end -}}
{{- if and $license.usageApiKey (not (regexMatch "^[!-~]{8,512}$" (trim $license.usageApiKey))) -}}
{{- $problems = append $problems "license.usageApiKey: not an API key (8 to 512 characters without spaces); a file is passed with --set-file, not with --set" -}}
{{- end -}}
{{- if $license.extraKeys -}}
{{- if not (hasKey (fromJson $license.extraKeys) "keys") -}}
{{- $problems = append $problems "license.extraKeys: not a JWKS (a JSON object with `keys`); a file is passed with --set-file, not with --set" -}}
{{- end -}}
{{- end -}}
{{- else if $license.extraKeys -}}
{{- $problems = append $problems "license.extraKeys: goes with license.jwt; put the keys into the Secret of license.secretName, and their key's name into license.extraKeysKey" -}}
{{- else if $license.usageApiKey -}}
{{- $problems = append $problems "license.usageApiKey: goes with license.jwt; put it into the Secret of license.secretName, and its key's name into license.usageApiKeyKey" -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{- define "stack.problems.pools" -}}
{{- $problems := list -}}
{{- if not .Values.pools -}}
{{- $problems = append $problems "pools: none given; speech recognition on a GPU is `--set 'pools[0].name=english'`, without one `--set 'pools[0].name=english,pools[0].engine=Sphinx'`" -}}
{{- end -}}
{{- $seen := dict -}}
{{- range .Values.pools -}}
{{- if hasKey $seen .name -}}
{{- $problems = append $problems (printf "pools: two are named %q; expected a name of its own for each" .name) -}}
{{- end -}}
{{- $_ := set $seen .name true -}}
{{- if and (not .model) (not (has .name (list "english" "multilingual" "pro"))) -}}
{{- $problems = append $problems (printf "pools: %q has no model; expected the routing name it serves, since only pools named english, multilingual and pro have one by default" .name) -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{- define "stack.problems.edge" -}}
{{- $problems := list -}}
{{- if and .Values.ingress (not .Values.ingress.host) -}}
{{- $problems = append $problems "ingress.host: none given; expected the name clients connect to" -}}
{{- end -}}
{{- range $where := list "ingress" "gateway" -}}
{{- $tls := (get $.Values $where | default dict).tls | default dict -}}
{{- if and (or $tls.crt $tls.key) $tls.secretName -}}
{{- $problems = append $problems (printf "%s.tls: both a certificate and secretName are given; expected one of them" $where) -}}
{{- else if and $tls.crt (not $tls.key) -}}
{{- $problems = append $problems (printf "%s.tls: a certificate without its key; expected %s.tls.key too (--set-file)" $where $where) -}}
{{- else if and $tls.key (not $tls.crt) -}}
{{- $problems = append $problems (printf "%s.tls: a key without its certificate; expected %s.tls.crt too (--set-file)" $where $where) -}}
{{- else if $tls.crt -}}
{{- if not (contains "-----BEGIN CERTIFICATE-----" $tls.crt) -}}
{{- $problems = append $problems (printf "%s.tls.crt: not a PEM certificate; a file is passed with --set-file, not with --set" $where) -}}
{{- end -}}
{{- if not (regexMatch "-----BEGIN ([A-Z]+ )?PRIVATE KEY-----" $tls.key) -}}
{{- $problems = append $problems (printf "%s.tls.key: not a PEM private key; a file is passed with --set-file, not with --set" $where) -}}
{{- end -}}
{{- else if and (kindIs "map" (get (get $.Values $where | default dict) "tls")) (not $tls.secretName) -}}
{{- $problems = append $problems (printf "%s.tls: empty; expected secretName, or crt and key, or no tls at all" $where) -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}
