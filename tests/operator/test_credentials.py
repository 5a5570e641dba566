"""The Secret with a stack's tokens: its stages, and what is never shown."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_operator.credentials import StackCredential, after
from streamstack_operator.facts import CredentialStage, CredentialStep

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROTATION = (CredentialStep.ANNOUNCE, CredentialStep.SWITCH, CredentialStep.SETTLE)


def made() -> StackCredential:
    return after(None, CredentialStep.MAKE, requested=None, now=NOW)


def test_the_first_one_is_a_token_and_a_key_of_temporary_tokens() -> None:
    credential = made()
    assert (len(credential.tokens), credential.stage) == (1, CredentialStage.SETTLED)
    assert len({credential.sent, credential.token_key}) == 2
    assert min(len(credential.sent), len(credential.token_key)) >= 43


def test_a_rotation_announces_switches_and_settles() -> None:
    old = made()
    announced = after(old, CredentialStep.ANNOUNCE, requested="please", now=NOW)
    assert (announced.sent, announced.stage, announced.requested) == (old.sent, CredentialStage.ANNOUNCING, "please")
    new = announced.announced
    assert new is not None
    switched = after(announced, CredentialStep.SWITCH, requested=None, now=NOW)
    assert (switched.tokens, switched.announced) == ((new, old.sent), None)
    settled = after(switched, CredentialStep.SETTLE, requested=None, now=NOW)
    assert (settled.tokens, settled.token_key, settled.requested) == ((new,), old.token_key, "please")


@given(st.integers(0, 12))
def test_two_that_are_a_step_apart_always_accept_each_other(steps: int) -> None:
    """Kubelets project a changed Secret one after the other (DESIGN 4, "Credential")."""
    present = made()
    for number in range(steps):
        following = after(present, ROTATION[number % 3], requested=None, now=NOW)
        assert present.sent in following.tokens
        assert following.sent in present.tokens
        present = following


@pytest.mark.parametrize("step", [CredentialStep.SWITCH, CredentialStep.SETTLE, CredentialStep.ANNOUNCE])
def test_no_step_but_the_first_is_taken_without_a_credential(step: CredentialStep) -> None:
    with pytest.raises(ValueError, match="does not follow"):
        after(None, step, requested=None, now=NOW)


def test_sealed_a_credential_does_not_show_its_tokens() -> None:
    credential = made()
    assert credential.sent not in repr(credential)
    assert credential.token_key not in f"{credential}"
