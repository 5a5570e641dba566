"""The status of a StreamingStack: what runs, and why not what was asked for."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from streamstack_operator.model.base import Part

Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""RFC 3339 in UTC, to the second, as Kubernetes writes it."""


class ConditionStatus(StrEnum):
    """Whether a condition holds (KEP-1623)."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class StackCondition(Part):
    """One condition (KEP-1623)."""

    type: Annotated[str, Field(max_length=63)] = Field(description="what it is about; Ready sums up the others")
    status: ConditionStatus = Field(description="whether it holds")
    reason: Annotated[str, Field(max_length=128)] = Field(description="a word to search the documentation for")
    message: Annotated[str, Field(max_length=2048)] = Field(description="what it means and what to do")
    last_transition_time: Moment = Field(description="when `status` last changed")
    observed_generation: int = Field(description="the generation of the spec this was said of")


class Phase(StrEnum):
    """Where a revision is in its life."""

    WARMING = "Warming"
    """Starting; no session is sent to it yet."""
    ACTIVE = "Active"
    """New sessions go to it."""
    DRAINING = "Draining"
    """Serves what it has until its last session ends or its deadline passes."""
    ENDING = "Ending"
    """Its Deployment is deleted; pods that are left stop."""


class Rendering(Part):
    """How templates are made: these stay with a revision, so that an operator upgrade makes no new one."""

    version: int = Field(ge=1, description="version of the renderer")
    image: str = Field(description="the image a revision of this component runs when the spec names none")


class Revision(Part):
    """One generation of the pod template of gateways or of a pool: one Deployment."""

    revision: str = Field(description="hash of the template, part of the Deployment's name")
    phase: Phase = Field(description="Warming (no session yet), Active (new sessions go to it), Draining or Ending")
    rendering: Rendering = Field(description="how its template was made")
    replicas: int = Field(0, description="pods wanted")
    ready: int = Field(0, description="pods ready")
    sessions: int | None = Field(None, description="live sessions; unknown while a pod cannot be asked")
    oldest_session_started_at: Moment | None = Field(None, description="start of its oldest live session")
    drain_started_at: Moment | None = Field(None, description="when new sessions began to go elsewhere")
    drain_deadline: Moment | None = Field(None, description="when it ends at the latest")
    idle_since: Moment | None = Field(None, description="since when every reading of every pod says: no session")


class ComponentStatus(Part):
    """Gateways, or one pool."""

    active_revision: str | None = Field(None, description="where new sessions go")
    ready: str = Field("0/0", description="pods ready and wanted, of the active revision")
    sessions: int | None = Field(
        None, description="live sessions of all revisions; unknown while a pod cannot be asked"
    )
    capacity: int | None = Field(None, description="sessions that the active revision's ready pods are meant to carry")
    revisions: list[Revision] = Field(
        default_factory=list,
        description="every generation of the pods' template that has pods",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["revision"]},
    )


class PoolStatus(ComponentStatus):
    """One pool."""

    name: str = Field(description="the pool's name")
    model: str = Field(description="routing name its pods serve")


class LicenseReport(Part):
    """What the license proxies say."""

    state: str = Field(
        "Unknown",
        description="Ready, Connected, TrustBased, Failed, or Unknown while no proxy answers; of several proxies the "
        "best one's, and LicenseValid names those that say worse",
    )
    customer: str | None = Field(None, description="whose license it is, as last told")
    license_id: str | None = Field(None, description="which one it is, as last told")
    billing: str | None = Field(None, description="flat or usage, as last told")
    expires_at: Moment | None = Field(None, description="when the license ends, as last told")
    last_successful_checkin: Moment | None = Field(
        None, description="last good check-in with the license authority; while all is well to five minutes"
    )
    trust_expiration: Moment | None = Field(
        None, description="until when the license is trusted without another one; to five minutes as well"
    )
    backlog_records: int | None = Field(
        None,
        description="records of usage in all journals that the authority does not have yet; unknown while a proxy "
        "cannot be asked",
    )
    backlog_oldest_seconds: int | None = Field(
        None, description="age of the oldest of them, in whole minutes; 0 below one; unknown as the records are"
    )
    extra_keys: bool = Field(False, description="keys beside the vendor's are accepted")
    ready: str = Field("0/0", description="proxies ready and wanted")


class CredentialStatus(Part):
    """Where the credential is in its life; never the credential itself."""

    stage: str = Field(description="Settled, Announcing (the new one is accepted) or Switching (the new one is sent)")
    since: Moment = Field(description="since when")
    requested: str | None = Field(None, description="value of the last rotate-credential annotation that was obeyed")


class StreamingStackStatus(Part):
    """What runs, and why not what was asked for."""

    observed_generation: int | None = Field(None, description="the generation of the spec all this was said of")
    summary: str = Field("", description="one line for kubectl get")
    conditions: list[StackCondition] = Field(
        default_factory=list,
        description="what holds and what does not, with reasons and what to do",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    gateway: ComponentStatus = Field(default_factory=ComponentStatus, description="the gateways")
    pools: list[PoolStatus] = Field(
        default_factory=list,
        description="the pools",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    asr_ready: str = Field("0/0", description="ASR pods ready and wanted, of all pools")
    balancer_ready: str | None = Field(None, description="balancer pods ready and wanted, with `balancer: Nginx`")
    license: LicenseReport = Field(default_factory=LicenseReport, description="what the license proxy says")
    credential: CredentialStatus | None = Field(None, description="where the credential is in its life")
    drain_deadline: Moment | None = Field(
        None, description="when a stack that was deleted with `drain.onDelete` goes at the latest"
    )
    rendered: str | None = Field(None, description="value of the last render annotation that was obeyed")
    version: str = Field("", description="version of the operator that wrote this")
