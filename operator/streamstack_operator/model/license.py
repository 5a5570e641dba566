"""The license's part of a StreamingStack: the license proxy, its journal of usage, and the way to the authority."""

from typing import Annotated

from pydantic import Field

from streamstack_operator.model.base import DataKey, Name, Part, Quantity, rule, with_rules
from streamstack_operator.model.workload import Placement, Resources, resources

Endpoint = Annotated[str, Field(min_length=8, max_length=256, pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$")]


class Authority(Part):
    """The license authority: it answers check-ins and bills usage. The license names it; all this is optional."""

    model_config = with_rules(
        rule(
            "!has(self.endpoint) || !self.endpoint.startsWith('http://') || self.insecure",
            "an endpoint without TLS needs insecure: true",
            field=".endpoint",
        ),
    )

    endpoint: Endpoint | None = Field(
        None, description="another way to it than the one the license names: its base URL"
    )
    ca_secret_name: Name | None = Field(
        None, description="Secret with the certificates (PEM) that its own is checked against; the system's otherwise"
    )
    ca_key: DataKey = Field("ca.crt", description="key in that Secret")
    client_certificate_secret_name: Name | None = Field(
        None, description="Secret of type kubernetes.io/tls with the certificate that proxies show to it"
    )
    insecure: bool = Field(
        False, description="speak HTTP to it where its address says so: tokens and usage can then be read on the way"
    )


class License(Part):
    """The license, and the proxy that checks it and keeps the journal of usage."""

    # Templates of a StatefulSet's claims cannot change.
    model_config = with_rules(
        rule(
            "self.storage == oldSelf.storage",
            "storage cannot change: enlarge the PersistentVolumeClaims themselves, or make another StreamingStack",
            field=".storage",
        ),
        rule(
            "has(self.storageClassName) == has(oldSelf.storageClassName) && "
            "(!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
            "storageClassName cannot change: make another StreamingStack",
            field=".storageClassName",
        ),
        rule(
            "self.ephemeral == oldSelf.ephemeral",
            "ephemeral cannot change: make another StreamingStack",
            field=".ephemeral",
        ),
        rule(
            "!self.ephemeral || !has(self.storageClassName)",
            "storageClassName must be left out with ephemeral: there is no claim",
            field=".storageClassName",
        ),
    )

    secret_name: Name = Field(description="Secret in the stack's namespace that holds the license")
    key: DataKey = Field("license.jwt", description="key in that Secret of the license")
    extra_keys_key: DataKey | None = Field(
        None, description="key in that Secret of a JWKS: public keys accepted beside the vendor's; the status tells"
    )
    usage_api_key_key: DataKey | None = Field(
        None,
        description="key in that Secret of the customer's API key (USAGE_TRACKING_API_KEY); usage billing needs it",
    )
    authority: Authority = Field(
        default_factory=Authority, description="the license authority, where it is not reached as the license says"
    )
    self_terminate_minutes: int | None = Field(
        None,
        ge=5,
        le=60,
        description="with usage billing, minutes without the authority after which a proxy ends itself; never when not "
        "given: the license's trust window decides, and the journal keeps the usage",
    )
    replicas: int = Field(
        1,
        ge=1,
        le=10,
        description="proxies, each with a journal of its own; fewer when those that go have an empty one",
    )
    resources: Resources = Field(
        default_factory=lambda: resources(cpu="1", memory="2Gi"), description="requests and limits of the container"
    )
    storage: Quantity = Field("1Gi", description="size of each journal's claim, or its limit with ephemeral")
    storage_class_name: Name | None = Field(None, description="StorageClass of the claims; the cluster's default")
    ephemeral: bool = Field(
        False,
        description="keep journals on the pods' nodes (emptyDir) and not on claims: usage that the authority does not "
        "have yet is lost for good with a pod that is evicted, deleted or rolled out, or with its node",
    )
    placement: Placement = Field(default_factory=Placement, description="where pods may run")
