"""What the API server refuses is told as an error that says what and why."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_operator.kube import (
    ApiUnavailableError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    KindMissingError,
    KubeError,
    NotFoundError,
    QuotaError,
)
from streamstack_operator.kube.errors import MESSAGE_LENGTH, ExpiredError, refusal


def status(message: str, *, reason: str = "", causes: list[dict[str, str]] | None = None) -> bytes:
    details = {"details": {"causes": causes}} if causes is not None else {}
    return json.dumps({"kind": "Status", "message": message, "reason": reason, **details}).encode()


QUOTA = 'pods "a" is forbidden: exceeded quota: small, requested: cpu=1, used: cpu=4, limited: cpu=4'
WEBHOOK = 'Internal error occurred: failed calling webhook "no.such.webhook": connection refused'


@pytest.mark.parametrize(
    ("code", "body", "kind"),
    [
        (400, status("strict decoding error"), InvalidError),
        (401, status("Unauthorized"), ApiUnavailableError),
        (403, status('pods is forbidden: User "a" cannot list'), ForbiddenError),
        (403, status(QUOTA), QuotaError),
        (404, status('deployments.apps "a" not found'), NotFoundError),
        (404, b"404 page not found\n", KindMissingError),
        (409, status("the object has been modified"), ConflictError),
        (410, status("The provided continue parameter is too old"), ExpiredError),
        (422, status("is invalid"), InvalidError),
        (429, status("too many requests"), ApiUnavailableError),
        (500, status("etcdserver: leader changed"), ApiUnavailableError),
        (500, status(WEBHOOK), InvalidError),
        (503, b"<html>no backend</html>", ApiUnavailableError),
        (504, status("timeout"), ApiUnavailableError),
    ],
)
def test_each_status_has_its_error_and_names_the_object(code, body, kind):
    error = refusal(code, body, what="Deployment a")
    assert type(error) is kind
    assert error.what == "Deployment a"
    assert str(error) == f"Deployment a: {error.message}"
    assert error.message


def test_an_invalid_object_is_told_with_each_of_its_fields_once():
    causes = [
        {"field": "spec.replicas", "message": "Invalid value: -1: must be at least 0"},
        {"field": "spec.selector", "message": "Required value"},
    ]
    message = 'Deployment.apps "a" is invalid: spec.replicas: Invalid value: -1: must be at least 0'
    error = refusal(422, status(message, reason="Invalid", causes=causes), what="Deployment a")
    assert error.message == f"{message}; spec.selector: Required value"


def test_a_secret_is_told_without_what_was_in_it():
    causes = [{"field": "data[credential]", "message": 'Invalid value: "c2VjcmV0"'}]
    error = refusal(
        422, status('Secret "a" is invalid: "c2VjcmV0"', reason="Invalid", causes=causes), what="Secret a", secret=True
    )
    assert str(error) == "Secret a: the API server answered 422 Invalid (data[credential])"


def test_a_long_message_is_cut():
    assert len(refusal(422, status("x" * 5000), what="a").message) == MESSAGE_LENGTH + len("...")


@given(code=st.integers(300, 599), body=st.binary())
def test_whatever_is_answered_makes_an_error_with_words(code, body):
    error = refusal(code, body, what="Pod a")
    assert isinstance(error, KubeError)
    assert str(code) in error.message or isinstance(error, KindMissingError)


@given(
    code=st.integers(300, 599),
    content=st.dictionaries(
        st.sampled_from(["message", "reason", "details", "code"]),
        st.recursive(
            st.none() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["causes", "field", "message"]), inner),
        ),
    ),
)
def test_whatever_a_status_holds_makes_an_error(code, content):
    body = json.dumps({"kind": "Status", **content}).encode()
    assert isinstance(refusal(code, body, what="Pod a"), KubeError)
