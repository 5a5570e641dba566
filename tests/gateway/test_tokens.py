import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_gateway.errors import SessionError
from streamstack_gateway.tokens import AUDIENCE, TokenKeyError, TokenRequest, Tokens

KEY = b"0123456789abcdef0123456789abcdef"
NOW = 1_790_000_000


def refusal(token: str, *, now: float = NOW, tokens: Tokens | None = None) -> str:
    with pytest.raises(SessionError) as caught:
        (tokens or Tokens(KEY)).open(token, now)
    assert caught.value.code == 1008
    return caught.value.message


@given(st.integers(1, 600), st.integers(60, 10_800))
def test_a_token_opens_sessions_of_its_length_until_it_expires(lifetime: int, longest: int) -> None:
    tokens = Tokens(KEY)
    token = tokens.issue(TokenRequest(expires_in_seconds=lifetime, max_session_duration_seconds=longest), NOW)
    assert tokens.open(token, NOW + lifetime - 0.01).max_session_seconds == longest
    assert refusal(token, now=NOW + lifetime) == "Unauthorized Connection: Signature has expired"


def test_two_tokens_of_one_second_differ() -> None:
    tokens = Tokens(KEY)
    request = TokenRequest(expires_in_seconds=60)
    assert tokens.issue(request, NOW) != tokens.issue(request, NOW)


def test_another_stacks_token_opens_nothing() -> None:
    token = Tokens(KEY[::-1]).issue(TokenRequest(expires_in_seconds=60), NOW)
    assert refusal(token) == "Unauthorized Connection: Invalid API key"


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW + 60, "max": 600},
        {"exp": NOW + 60, "max": 600, "aud": "something else"},
        {"max": 600, "aud": AUDIENCE},
        {"exp": NOW + 60, "aud": AUDIENCE},
        {"exp": NOW + 60, "max": 10**9, "aud": AUDIENCE},
        {"exp": "soon", "max": 600, "aud": AUDIENCE},
    ],
)
def test_a_token_with_other_claims_opens_nothing(claims: dict[str, object]) -> None:
    assert refusal(jwt.encode(claims, KEY, algorithm="HS256")) == "Unauthorized Connection: Invalid API key"


def test_an_unsigned_token_opens_nothing() -> None:
    token = jwt.encode({"exp": NOW + 60, "max": 600, "aud": AUDIENCE}, None, algorithm="none")
    assert refusal(token) == "Unauthorized Connection: Invalid API key"


@given(st.text(max_size=200))
def test_nothing_else_opens_anything(text: str) -> None:
    refusal(text)


def test_a_short_key_is_refused_without_being_shown() -> None:
    with pytest.raises(TokenKeyError, match="5 bytes, expected at least 32") as caught:
        Tokens(b"short")
    assert "short" not in str(caught.value)
