import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_gateway.dialects.v3.authorization import authorize
from streamstack_gateway.errors import Code, SessionError


def refusal(header: str | None, target: str) -> SessionError:
    with pytest.raises(SessionError) as caught:
        authorize(header, target, tokens=None, now_seconds=0.0)
    assert caught.value.code is Code.POLICY
    return caught.value


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ("self-hosted", "/v3/ws"),
        (" self-hosted ", "/?sample_rate=16000"),
        (None, "/v3/ws?token=self-hosted"),
        ("", "/v3/ws?sample_rate=16000&token=self-hosted"),
    ],
)
def test_the_word_of_the_self_hosting_stack_opens(header, target):
    authorize(header, target, tokens=None, now_seconds=0.0)


@pytest.mark.parametrize(("header", "target"), [(None, "/v3/ws"), ("", "/v3/ws?token="), (" ", "/")])
def test_no_credential_at_all_is_said_in_the_documented_words(header, target):
    error = refusal(header, target)

    assert error.reason == "missing_authorization"
    assert error.message == "Unauthorized Connection: Missing Authorization header"


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ("Bearer self-hosted", "/v3/ws"),
        ("Self-Hosted", "/v3/ws"),
        ("a-key", "/v3/ws?token=self-hosted"),
        (None, "/v3/ws?token=a-key"),
    ],
)
def test_any_other_word_is_an_invalid_key(header, target):
    error = refusal(header, target)

    assert error.reason == "invalid_authorization"
    assert error.message == "Unauthorized Connection: Invalid API key"


@given(st.text(st.characters(exclude_categories=[])) | st.none(), st.text(st.characters(exclude_categories=[])))
def test_nothing_but_the_word_opens_and_nothing_breaks(header, target):
    with pytest.raises(SessionError):
        authorize(header, target, tokens=None, now_seconds=0.0)
