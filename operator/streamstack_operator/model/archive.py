"""A pool's model as an archive: where it is fetched from, and where it is kept once unpacked."""

from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import Field

from streamstack_operator.model.base import Name, Part, Quantity, rule, with_rules

PORT: Final = "(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
URL: Final = rf"^https?://[A-Za-z0-9._-]+(:{PORT})?/[^\s#]+$"

ArchiveUrl = Annotated[str, Field(min_length=10, max_length=2048, pattern=URL)]
Sha256 = Annotated[str, Field(min_length=64, max_length=64, pattern="^[0-9a-f]{64}$")]
AddressBlock = Annotated[str, Field(min_length=4, max_length=43, pattern="^[0-9a-fA-F.:]+/(0|[1-9][0-9]{0,2})$")]

NO_BLOCKS: Final = "expected blocks of addresses, such as 192.0.2.0/24 or 2001:db8::/32"
NOWHERE_FROM: Final = "expected addresses to fetch the archive from, or a store that outlives pods and holds it"
WAY_OUT: Final = "hostPath must not contain '..'"
TWO_STORES: Final = "expected claimName or hostPath, not both"


class ModelStore(Part):
    """Where archives are unpacked. Without a claim or a folder: in the pod, which fetches it again when it is new."""

    model_config = with_rules(
        rule("!has(self.claimName) || !has(self.hostPath)", TWO_STORES, field=".hostPath"),
        rule("!has(self.hostPath) || !self.hostPath.split('/').exists(part, part == '..')", WAY_OUT, field=".hostPath"),
    )

    size: Quantity = Field(
        "20Gi",
        description="limit of what a pod keeps itself, on its node's disk; without meaning for a claim or folder",
    )
    claim_name: Name | None = Field(
        None, description="PersistentVolumeClaim in the stack's namespace, which the pods write to and share"
    )
    host_path: Annotated[str, Field(min_length=2, max_length=512, pattern="^/[^:]*$")] | None = Field(
        None,
        description="folder of the node, shared by its pods: it has to be there and be writable by user 10001, and Pod "
        "Security has to allow hostPath in the namespace",
    )


class ModelArchive(Part):
    """The model's files as one archive that pods fetch when they start, once a store."""

    model_config = with_rules(
        rule("self.addresses.all(block, isCIDR(block))", NO_BLOCKS, field=".addresses"),
        rule(
            "self.addresses.size() > 0 || has(self.store.claimName) || has(self.store.hostPath)",
            NOWHERE_FROM,
            field=".addresses",
        ),
    )

    url: ArchiveUrl = Field(description="where the archive is: https:// or http://, since its checksum vouches for it")
    sha256: Sha256 = Field(description="its SHA-256, 64 hexadecimal digits in lower case; another archive is refused")
    addresses: Annotated[list[AddressBlock], Field(max_length=16)] = Field(
        default_factory=list,
        description="blocks of addresses where the archive's host is, 0.0.0.0/0 for anywhere: of all that is outside, "
        "the pool's pods may connect there alone, at the URL's port, where the network enforces NetworkPolicies; with "
        "none nothing is fetched, and the store has to hold the archive",
    )
    store: ModelStore = Field(default_factory=ModelStore, description="where it is unpacked")

    @property
    def port(self) -> int:
        """The TCP port of the URL."""
        parts = urlsplit(self.url)
        return parts.port or (80 if parts.scheme == "http" else 443)
