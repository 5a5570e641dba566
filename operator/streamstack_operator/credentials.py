"""The Secret with a stack's bearer tokens: made, rotated in stages, read by name alone (DESIGN 4, "Credential")."""

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from streamstack_operator.build.meta import metadata
from streamstack_operator.facts import (
    CredentialFacts,
    CredentialStage,
    CredentialStep,
    Manifest,
    ObjectKey,
    Problem,
    Stack,
)
from streamstack_operator.kube import Kube
from streamstack_operator.names import ANNOTATION_CREDENTIAL, ANNOTATION_ROTATE, Component, Reason, credential
from streamstack_operator.owners import is_controlled_by

TOKEN_BYTES: Final = 32
"""43 characters: enough for a bearer token, and for the key of temporary tokens (RFC 7518 3.2)."""

FILE: Final = "credential"
TOKEN_KEY: Final = "token-key"  # noqa: S105 - a key's name
REREAD_SECONDS: Final = 600.0
"""The operator may not watch Secrets; one that was deleted by hand is noticed this late."""


class CredentialClashError(Exception):
    """A Secret of that name is there, and is not the stack's; ``problem`` is for its conditions."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class StackCredential:
    """The Secret's content. ``tokens``: the first is sent, all are accepted. Never shown: its ``repr`` has no token."""

    tokens: tuple[str, ...]
    token_key: str
    stage: CredentialStage
    since_seconds: float
    requested: str | None = None

    def __repr__(self) -> str:
        return f"StackCredential(stage={self.stage}, tokens={len(self.tokens)})"

    @property
    def sent(self) -> str:
        """The token that pods send, and the operator."""
        return self.tokens[0]

    @property
    def announced(self) -> str | None:
        """The token that takes over next."""
        return self.tokens[-1] if self.stage is CredentialStage.ANNOUNCING else None

    def facts(self, accepted_by: frozenset[str]) -> CredentialFacts:
        """Return what the planner may know."""
        return CredentialFacts(self.stage, self.since_seconds, self.requested, accepted_by)


class Credentials:
    """The credentials of all stacks, as this operator last read or wrote them."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._known: dict[str, tuple[StackCredential, float]] = {}

    async def of(self, stack: Stack, *, now: datetime) -> StackCredential | None:
        """Return a stack's credential, None when there is none yet.

        Raises:
            CredentialClashError: the Secret is somebody else's.
            KubeError: the API server did not say.

        """
        known, read_at = self._known.get(stack.uid, (None, 0.0))
        if known is not None and now.timestamp() - read_at < REREAD_SECONDS:
            return known
        secret = await self._kube.get(_key(stack), namespace=stack.namespace)
        if secret is not None and not is_controlled_by(secret, stack.uid):
            raise CredentialClashError(
                Problem(
                    Reason.NAME_CLASH,
                    f"Secret {credential(stack.name)} is not this stack's: rename it, or give the stack another name",
                )
            )
        if secret is None and known is not None:
            # Deleted by hand: pods still have what was in it, and take no notice of the same again.
            await self._write(stack, known, now=now)
            return known
        found = None if secret is None else _read(secret)
        if found is None:
            self._known.pop(stack.uid, None)
        else:
            self._known[stack.uid] = (found, now.timestamp())
        return found

    async def carry_out(self, stack: Stack, step: CredentialStep, *, now: datetime) -> None:
        """Do a step of making or rotating. Raises KubeError; then nothing is changed."""
        known, _ = self._known.get(stack.uid, (None, 0.0))
        wanted = after(known, step, requested=stack.annotations.get(ANNOTATION_ROTATE), now=now)
        await self._write(stack, wanted, now=now)

    async def _write(self, stack: Stack, wanted: StackCredential, *, now: datetime) -> None:
        await self._kube.apply(_secret(stack, wanted), namespace=stack.namespace)
        self._known[stack.uid] = (wanted, now.timestamp())

    def forget(self, uid: str) -> None:
        """Drop what is known of a stack that is gone."""
        self._known.pop(uid, None)


def after(
    known: StackCredential | None, step: CredentialStep, *, requested: str | None, now: datetime
) -> StackCredential:
    """Return the credential that a step makes of the known one."""
    since = now.timestamp()
    match step, known:
        case CredentialStep.MAKE, _:
            return StackCredential((_token(),), _token(), CredentialStage.SETTLED, since, requested)
        case CredentialStep.ANNOUNCE, StackCredential(tokens=(old, *_)):
            tokens, stage = (old, _token()), CredentialStage.ANNOUNCING
            return replace(known, tokens=tokens, stage=stage, since_seconds=since, requested=requested)
        case CredentialStep.SWITCH, StackCredential(tokens=(old, new)):
            return replace(known, tokens=(new, old), stage=CredentialStage.SWITCHING, since_seconds=since)
        case CredentialStep.SETTLE, StackCredential(tokens=(new, *_)):
            return replace(known, tokens=(new,), stage=CredentialStage.SETTLED, since_seconds=since)
        case _:
            raise ValueError(f"{step} does not follow {known!r}")


def _token() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)


def _key(stack: Stack) -> ObjectKey:
    return ObjectKey("v1", "Secret", credential(stack.name))


def _secret(stack: Stack, wanted: StackCredential) -> Manifest:
    about = metadata(stack, credential(stack.name), Component.CREDENTIAL)
    state = {"stage": wanted.stage, "since": wanted.since_seconds, "requested": wanted.requested}
    about["annotations"] = {ANNOTATION_CREDENTIAL: json.dumps(state)}
    content = {FILE: "".join(f"{token}\n" for token in wanted.tokens), TOKEN_KEY: f"{wanted.token_key}\n"}
    data = {name: base64.b64encode(text.encode()).decode() for name, text in content.items()}
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": about, "data": data}


def _read(secret: Manifest) -> StackCredential | None:
    """Return what a Secret holds; None where it was emptied or edited beyond use: then a new one is made."""
    try:
        data: Mapping[str, Any] = secret.get("data") or {}
        tokens = tuple(base64.b64decode(data[FILE]).decode("ascii").split())
        token_key = base64.b64decode(data[TOKEN_KEY]).decode("ascii").strip()
        state = json.loads((secret["metadata"].get("annotations") or {})[ANNOTATION_CREDENTIAL])
        found = StackCredential(
            tokens, token_key, CredentialStage(state["stage"]), float(state["since"]), state["requested"]
        )
    except (KeyError, TypeError, ValueError):
        return None
    expected = 1 if found.stage is CredentialStage.SETTLED else 2
    return found if len(tokens) == expected and token_key else None
