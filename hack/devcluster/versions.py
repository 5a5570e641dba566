"""Versions that were verified together. What is built from Go modules is pinned in `hack/tools/*/go.{mod,sum}`."""

KUBERNETES = "v1.36.3"

ETCD_TAG = "3.6.8-0"
COREDNS_TAG = "v1.14.2"
PAUSE_TAG = "3.10.2"
"""Tags that `kubeadm config images list` of :data:`KUBERNETES` asks for; the binaries inside are ours."""

TRAEFIK_TAG = "v3.6.12"
"""The ingress controller, as in hack/tools/traefik/go.mod and as published."""

MINIMUM_DOCKER = (20, 10)
MINIMUM_KIND = (0, 30)
MINIMUM_HELM = (3, 18)
MINIMUM_COMPOSE = (2, 24)
"""2.24: `depends_on.required` and long-form env_file, 2.20: `include`."""
