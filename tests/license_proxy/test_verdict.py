import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_common.authority import CheckIn
from streamstack_common.keyring import Keyring
from streamstack_license_proxy.verdict import UnprovenAnswerError, authority_time, proven
from support.signer import NBF, Signer, base64url

SIGNER = Signer()
QUESTION = CheckIn(license="a.b.c", nonce="n" * 32, instance_id="proxy-1")
CLAIMS: dict[str, Any] = {
    "aud": "streamstack-checkin",
    "sub": "license-1",
    "nonce": QUESTION.nonce,
    "iat": NBF,
    "verdict": "good",
}


def judged(answer: bytes, keyring: Keyring | None = None) -> str:
    ring = keyring or SIGNER.keyring()
    return proven(answer.decode(), QUESTION, license_id="license-1", keyring=ring).verdict


def without(name: str) -> dict[str, Any]:
    return {claim: value for claim, value in CLAIMS.items() if claim != name}


@pytest.mark.parametrize("signer", [SIGNER, Signer("rsa", rsa_bits=2048)], ids=["EdDSA", "RS256"])
@pytest.mark.parametrize("verdict", ["good", "revoked"])
def test_an_answer_to_this_question_by_a_key_of_the_ring_counts(signer: Signer, verdict: str) -> None:
    assert judged(signer.sign({**CLAIMS, "verdict": verdict, "more": 1}), signer.keyring()) == verdict


def test_it_tells_the_authoritys_time() -> None:
    answer = SIGNER.sign(CLAIMS).decode()
    verdict = proven(answer, QUESTION, license_id="license-1", keyring=SIGNER.keyring())
    assert authority_time(verdict) == datetime.fromtimestamp(NBF, UTC)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (Signer().sign(CLAIMS), "not that of key test-1"),
        (Signer("other").sign(CLAIMS), "another key than test-1"),
        (SIGNER.sign({**CLAIMS, "nonce": "m" * 32}), "another check-in"),
        (SIGNER.sign({**CLAIMS, "sub": "license-2"}), "another license"),
        (SIGNER.sign({**CLAIMS, "aud": "streamstack"}), "no answer to a check-in"),
        (SIGNER.sign({**CLAIMS, "aud": ["streamstack-checkin"]}), "no answer to a check-in"),
        (SIGNER.sign({**CLAIMS, "verdict": "perhaps"}), "no answer to a check-in"),
        (SIGNER.sign({**CLAIMS, "iat": "now"}), "no answer to a check-in"),
        (SIGNER.sign({**CLAIMS, "iat": 10**15}), "no answer to a check-in"),
        *((SIGNER.sign(without(name)), "no answer to a check-in") for name in CLAIMS),
        (SIGNER.token(), "no answer to a check-in"),
        (b"not a token", "no JWT"),
        (b"", "no JWT"),
    ],
)
def test_anything_else_proves_nothing(answer: bytes, complaint: str) -> None:
    with pytest.raises(UnprovenAnswerError, match=complaint) as caught:
        judged(answer)
    assert QUESTION.nonce not in str(caught.value)


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS256"])
def test_an_answer_cannot_choose_how_it_is_checked(algorithm: str) -> None:
    header = base64url(json.dumps({"alg": algorithm, "kid": SIGNER.kid}).encode())
    forged = f"{header}.{base64url(json.dumps(CLAIMS).encode())}.{base64url(b'x' * 64)}"
    with pytest.raises(UnprovenAnswerError):
        judged(forged.encode())


@given(position=st.integers(0, 10_000), change=st.integers(1, 255))
def test_one_changed_byte_undoes_it(position: int, change: int) -> None:
    header, payload, signature = SIGNER.sign(CLAIMS).decode().split(".")
    raw = bytearray(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    raw[position % len(raw)] ^= change
    with pytest.raises(UnprovenAnswerError):
        judged(f"{header}.{base64url(bytes(raw))}.{signature}".encode())


@given(st.text(max_size=200) | st.builds(lambda *parts: ".".join(map(base64url, parts)), *[st.binary(max_size=99)] * 3))
def test_whatever_answers_it_is_judged(answer: str) -> None:
    with pytest.raises(UnprovenAnswerError):
        proven(answer, QUESTION, license_id="license-1", keyring=SIGNER.keyring())
