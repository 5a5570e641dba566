{{/*
What a controller has to be told so that it leaves long WebSockets alone (docs/kubernetes.md). Which one it is, the
profile says, else the class's name, else the APIs it brought: all that can be seen without rights in the cluster.
*/}}
{{- define "stack.controller" -}}
{{- $ingress := .Values.ingress | default dict -}}
{{- $class := $ingress.className | default "" | lower -}}
{{- $profile := $ingress.profile | default "None" -}}
{{- $apis := .Capabilities.APIVersions -}}
{{- if ne $profile "None" -}}{{ $profile }}
{{- else if contains "traefik" $class -}}Traefik
{{- else if contains "nginx" $class -}}IngressNginx
{{- else if contains "haproxy" $class -}}HAProxy
{{- else if and (not $ingress.host) ($apis.Has "gateway.envoyproxy.io/v1alpha1") -}}EnvoyGateway
{{- else if and (not $class) ($apis.Has "traefik.io/v1alpha1") -}}Traefik
{{- end -}}
{{- end -}}

{{- define "stack.controllerNotes" -}}
{{- $session := int (.Values.maxSessionSeconds | default 10800) -}}
{{- $drain := add $session (int ((.Values.drain | default dict).marginSeconds | default 300)) -}}
{{- $controller := include "stack.controller" . -}}
{{- if eq $controller "Traefik" -}}
Traefik, on the entry point that clients use:
    transport.lifeCycle.graceTimeOut={{ $session }}s
    transport.lifeCycle.requestAcceptGraceTimeout=10s
  and its pods' terminationGracePeriodSeconds: {{ $drain }} or more
{{- else if eq $controller "HAProxy" -}}
HAProxy (haproxytech), in the controller's ConfigMap:
    hard-stop-after: {{ $drain }}s
    timeout-tunnel: {{ $drain }}s
    scale-server-slots: above the most gateway pods you will have (ingress.profile: HAProxy does)
  HAProxy Ingress (jcmoraisjr) has timeout-stop and timeout-tunnel for it
{{- else if eq $controller "HAProxyIngress" -}}
HAProxy Ingress, in its ConfigMap:
    timeout-stop: {{ $drain }}s
    timeout-tunnel: {{ $drain }}s
    worker-max-reloads: no fewer than there are reloads in that time
{{- else if eq $controller "IngressNginx" -}}
ingress-nginx, which is retired and ends old sessions after any reload, in its ConfigMap:
    worker-shutdown-timeout: {{ $drain }}s
  and a class of its own for this stack (--watch-namespace)
{{- else if eq $controller "EnvoyGateway" -}}
Envoy Gateway, in the EnvoyProxy of the Gateway:
    shutdown.drainTimeout: {{ $drain }}s
  and its pods' terminationGracePeriodSeconds above it; leave maxStreamDuration, requestTimeout and
  maxConnectionDuration unset, and let policies and certificates of that listener change seldom
{{- else -}}
your ingress controller: `kubectl get ingressclass` says which it is, the table of
  docs/kubernetes.md what to set so that a reload or a rollout of its own leaves {{ $session }} s long WebSockets alone.
{{- end -}}
{{- end -}}
