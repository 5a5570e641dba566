"""Whether what answered a check-in is the authority. No I/O and no clock."""

import hmac
from datetime import UTC, datetime
from typing import Any

import jwt
from pydantic import ValidationError

from streamstack_common.authority import CHECKIN_AUDIENCE, CheckIn, Verdict
from streamstack_common.keyring import Keyring


class UnprovenAnswerError(Exception):
    """An answer that could be anybody's: for the license that is no answer. The message holds nothing of it."""


def proven(answer: str, question: CheckIn, *, license_id: str, keyring: Keyring) -> Verdict:
    """Return what the authority says, or raise.

    Args:
        answer: the JWT that came back.
        question: what was asked; its nonce has to come back, or the answer is to another question.
        license_id: of the license that was asked about.
        keyring: keys that may answer.

    Raises:
        UnprovenAnswerError: not signed by one of the keys, or not for this question.

    """
    verdict = _verdict(answer, keyring)
    if not hmac.compare_digest(verdict.nonce.encode(), question.nonce.encode()):
        raise UnprovenAnswerError("it answers another check-in (nonce)")
    if verdict.license_id != license_id:
        raise UnprovenAnswerError("it answers for another license (sub)")
    return verdict


def authority_time(verdict: Verdict) -> datetime:
    """Return the authority's clock when it answered."""
    return datetime.fromtimestamp(verdict.iat, UTC)


def _verdict(answer: str, keyring: Keyring) -> Verdict:
    try:
        kid = jwt.get_unverified_header(answer).get("kid")
    except (jwt.InvalidTokenError, RecursionError):
        raise UnprovenAnswerError("it is no JWT") from None
    key = keyring.keys.get(kid) if isinstance(kid, str) else None
    if key is None:
        raise UnprovenAnswerError(f"it is signed with another key than {', '.join(sorted(keyring.keys))}")
    try:
        # Its times are the authority's clock, by which ours is not judged nor the other way round.
        claims: dict[str, Any] = jwt.decode(
            answer,
            key,
            algorithms=[key.algorithm_name],
            audience=CHECKIN_AUDIENCE,
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_sub": False},
        )
        return Verdict.model_validate(claims)
    except jwt.InvalidSignatureError:
        raise UnprovenAnswerError(f"the signature is not that of key {kid}") from None
    except (jwt.InvalidTokenError, ValidationError, RecursionError):
        raise UnprovenAnswerError("it is signed, but no answer to a check-in") from None
