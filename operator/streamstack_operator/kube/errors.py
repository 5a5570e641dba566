"""What the API server refuses, as errors that say what was asked for and why it was not given."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Self

MESSAGE_LENGTH: Final = 1024
"""A refused manifest may come with a message for each of its fields."""

WEBHOOK_FAILED: Final = "failed calling webhook"
"""An admission webhook that does not answer makes a 500 of one request; the API server itself is well."""


class KubeConfigError(ValueError):
    """There is no usable way to the API server: neither a service account nor a kubeconfig."""


class KubeError(Exception):
    """Something asked of the API server was not done. ``what`` names the object, ``message`` says why not."""

    def __init__(self, what: str, message: str) -> None:
        super().__init__(f"{what}: {message}")
        self.what = what
        self.message = message


class ApiUnavailableError(KubeError):
    """The API server did not answer, or not with an answer to what was asked: another time it may."""


class ForbiddenError(KubeError):
    """The operator may not do this: a role lacks it, or an admission policy says no."""


class QuotaError(KubeError):
    """The namespace's quota is used up."""


class NotFoundError(KubeError):
    """There is no such object, or no such namespace."""


class KindMissingError(NotFoundError):
    """The API server does not serve this kind: its CRD is not installed."""


class ConflictError(KubeError):
    """The object is there already, is another one by now, or changed meanwhile."""


class InvalidError(KubeError):
    """The API server does not take the object as it is."""


class ExpiredError(KubeError):
    """A list took longer than its version is kept; it has to be begun anew."""


_BY_STATUS: Final[Mapping[int, type[KubeError]]] = {
    HTTPStatus.UNAUTHORIZED: ApiUnavailableError,  # a token that is being exchanged; nobody but a new one can help
    HTTPStatus.FORBIDDEN: ForbiddenError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.REQUEST_TIMEOUT: ApiUnavailableError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.GONE: ExpiredError,
    HTTPStatus.TOO_MANY_REQUESTS: ApiUnavailableError,
}


@dataclass(frozen=True, slots=True)
class Status:
    """A ``Status`` object of the API server, as far as it tells anything."""

    reason: str
    message: str
    fields: tuple[str, ...] = ()

    @classmethod
    def read(cls, body: bytes) -> Self | None:
        """Return what a body says; None when it is not a ``Status``."""
        try:
            content = json.loads(body)
        except ValueError:
            return None
        if not isinstance(content, dict) or content.get("kind") != "Status":
            return None
        causes = [cause for cause in _causes(content) if isinstance(cause, Mapping)]
        message = str(content.get("message") or "")
        told = [f"{cause.get('field')}: {cause.get('message')}" for cause in causes if cause.get("message")]
        missing = [line for line in told if line.partition(": ")[2] not in message]
        return cls(
            reason=str(content.get("reason") or ""),
            message="; ".join([message, *missing]),
            fields=tuple(str(cause["field"]) for cause in causes if cause.get("field")),
        )


def refusal(status: int, body: bytes, *, what: str, secret: bool = False) -> KubeError:
    """Return the error for an answer that is none of 2xx; a Secret's is told without what was in it."""
    said = Status.read(body)
    kind = _kind(status, said)
    if kind is KindMissingError:
        return kind(what, "the API server does not serve this kind; its CRD is not installed")
    return kind(what, _message(status, said, secret=secret))


def _kind(status: int, said: Status | None) -> type[KubeError]:
    if status == HTTPStatus.FORBIDDEN and said is not None and "exceeded quota" in said.message:
        return QuotaError
    if status == HTTPStatus.NOT_FOUND and said is None:
        return KindMissingError  # paths that nothing serves are answered in plain text, before any storage is asked
    if status == HTTPStatus.INTERNAL_SERVER_ERROR and said is not None and WEBHOOK_FAILED in said.message:
        return InvalidError
    return _BY_STATUS.get(status, InvalidError if status < HTTPStatus.INTERNAL_SERVER_ERROR else ApiUnavailableError)


def _message(status: int, said: Status | None, *, secret: bool) -> str:
    if said is None or not said.message:
        return f"the API server answered {status}"
    if secret:
        about = f" ({', '.join(said.fields)})" if said.fields else ""
        return f"the API server answered {status} {said.reason}{about}"
    return said.message if len(said.message) <= MESSAGE_LENGTH else f"{said.message[:MESSAGE_LENGTH]}..."


def _causes(status: Mapping[str, Any]) -> list[Any]:
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, Mapping) else None
    return causes if isinstance(causes, list) else []
