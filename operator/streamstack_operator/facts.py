"""What the planner is told and what it answers: frozen facts, no I/O (observe, plan, apply, status; DESIGN 8)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from streamstack_common.license_status import LicenseReport
from streamstack_common.sessions_report import SessionsReport
from streamstack_common.usage import UsageBacklog
from streamstack_operator.model.spec import StreamingStackSpec
from streamstack_operator.model.status import StreamingStackStatus
from streamstack_operator.names import Component, Reason

Manifest = dict[str, Any]
"""A Kubernetes object as the API has it: ``apiVersion``, ``kind``, ``metadata`` and the rest."""


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """A child within its stack's namespace."""

    api_version: str
    kind: str
    name: str

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Self:
        """Return the key of a manifest."""
        return cls(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"])

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True, order=True)
class StackKey:
    """A StreamingStack's place: what queues and caches know it by."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Stack:
    """A StreamingStack as it is now; ``spec`` has passed ``checks``."""

    key: StackKey
    uid: str
    generation: int
    spec: StreamingStackSpec
    status: StreamingStackStatus
    annotations: Mapping[str, str] = field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    deleting: bool = False

    @property
    def name(self) -> str:
        """The stack's name, the first part of its children's."""
        return self.key.name

    @property
    def namespace(self) -> str:
        """Where it and its children are."""
        return self.key.namespace


@dataclass(frozen=True, slots=True)
class Release:
    """What this operator makes where a spec does not say otherwise.

    ``images`` by name: gateway, license-proxy, asr-lb, asr-sphinx, asr-nemotron. ``renderer`` is the newest version of
    the renderer (``build.RENDERERS``).
    """

    version: str
    renderer: int
    images: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something does not run, for a person: a reason, and what was found and what to do."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A pod of the stack. ``problem`` is what kubelet or scheduler say keeps it from running.

    ``running`` is False where its kubelet says that no container of it runs (waiting for an image, or after a crash):
    no process, so no session, though it cannot be asked.
    """

    name: str
    uid: str
    component: Component
    pool: str | None
    revision: str | None
    ip: str | None
    ready: bool
    terminating: bool
    traffic: bool
    problem: Problem | None = None
    running: bool = True


@dataclass(frozen=True, slots=True)
class ProxyFacts:
    """What one license proxy says of itself; None is what it did not say.

    ``extra_keys``: keys beside the vendor's are accepted. ``backlog`` is that of its own journal.
    """

    license: LicenseReport | None = None
    extra_keys: bool = False
    backlog: UsageBacklog | None = None


class CredentialStage(StrEnum):
    """How far a rotation is. What the Secret's file holds, a token a line, the first is sent, all are accepted."""

    SETTLED = "Settled"
    """One token."""
    ANNOUNCING = "Announcing"
    """Old, new: everybody learns to accept the new one."""
    SWITCHING = "Switching"
    """New, old: everybody learns to send the new one."""


class CredentialStep(StrEnum):
    """What is to be done to the credential's Secret now."""

    MAKE = "Make"
    """There is none: a new token, Settled."""
    ANNOUNCE = "Announce"
    """A new token after the present one."""
    SWITCH = "Switch"
    """The new token first."""
    SETTLE = "Settle"
    """The new token alone."""


@dataclass(frozen=True, slots=True)
class CredentialFacts:
    """The credential's Secret, without its tokens. ``accepted_by``: uids of pods that accept the token announced."""

    stage: CredentialStage
    since_seconds: float
    """When the stage began: seconds since the epoch."""
    requested: str | None = None
    """Value of the last rotate annotation that was obeyed."""
    accepted_by: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Observed:
    """What there is of a stack.

    ``objects`` are children as the API server has them, owned by this stack. ``reports`` and what is missing in them:
    a pod without a report could not be asked, and counts as busy (DESIGN 3, unknown-is-busy). ``proxies`` are license
    proxies by uid, those that say anything. ``missing_secrets`` are those that the spec names and that are not there.
    ``failures`` are what the API server refused in the last pass.
    """

    objects: Mapping[ObjectKey, Manifest] = field(default_factory=dict)
    pods: tuple[PodFacts, ...] = ()
    reports: Mapping[str, SessionsReport] = field(default_factory=dict)
    proxies: Mapping[str, ProxyFacts] = field(default_factory=dict)
    credential: CredentialFacts | None = None
    missing_secrets: tuple[str, ...] = ()
    failures: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Scale:
    """Set the number of pods by the scale subresource: its only writer is the operator (DESIGN 8)."""

    key: ObjectKey
    replicas: int


class EventType(StrEnum):
    """How ``kubectl`` shows an Event."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class StackEvent:
    """An Event on the stack: something changed that a person wants to know."""

    type: EventType
    reason: Reason | str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done now, in this order: apply, scale, delete, status.

    ``finalizer`` tells whether the stack is to carry ours. ``again_seconds`` is when to look again though nothing that
    is watched has changed.
    """

    status: StreamingStackStatus
    apply: tuple[Manifest, ...] = ()
    scale: tuple[Scale, ...] = ()
    delete: tuple[ObjectKey, ...] = ()
    credential: CredentialStep | None = None
    finalizer: bool = False
    events: tuple[StackEvent, ...] = ()
    again_seconds: float = 30.0
