{{/*
What the operator may do where its stacks are: the rules of its ClusterRole, or of its Role in each namespace.
Server-side apply is a patch that may create. Secrets are read and written by name alone, never listed or watched:
whoever may list them reads them all. What lives as long as its stack is deleted by its owner reference alone.
*/}}
{{- define "operator.rules" -}}
- apiGroups: [streamstack.dev]
  resources: [streamingstacks]
  verbs: [list, watch, patch] # patch: the finalizer of drain.onDelete
- apiGroups: [streamstack.dev]
  resources: [streamingstacks/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [configmaps, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch]
- apiGroups: [""]
  resources: [events]
  verbs: [list, create] # list: which volume a pod waits for is told in Events alone
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments/scale, statefulsets/scale]
  verbs: [patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [ingresses, networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, create, patch, delete] # not watched: most clusters have no Gateway API
{{- end -}}
