"""Who may open a session: one word in the ``Authorization`` header, or in the ``token`` parameter.

Protocol facts: ``reference/assemblyai-protocol.md`` 2. The value is raw, without a scheme; ``Bearer`` makes it a
different word, and so an invalid one, as on the hosted service.
"""

import hmac

from streamstack_gateway.dialects.v3.target import parameters
from streamstack_gateway.errors import invalid_authorization, missing_authorization
from streamstack_gateway.tokens import Grant, Tokens

SELF_HOSTED = "self-hosted"
"""The fixed word of the self-hosting stack; not a secret."""


def accepts_self_hosted(word: str) -> bool:
    """Whether this is the fixed word."""
    return hmac.compare_digest(word.encode("utf-8", "surrogatepass"), SELF_HOSTED.encode())


def credential(header: str | None, target: str) -> str:
    """The word of an upgrade: its ``Authorization`` header or, where that is absent or empty, its ``token`` parameter.

    Raises SessionError 1008 when there is none, 3006 when the request target cannot be read at all.
    """
    word = (header or "").strip() or parameters(target).get("token", [""])[-1]
    if not word:
        raise missing_authorization()
    return word


def authorize(header: str | None, target: str, *, tokens: Tokens | None, now_seconds: float) -> Grant:
    """What an upgrade's credential allows: the fixed word everything, a temporary token what is in it.

    ``now_seconds`` is Unix time. Raises SessionError 1008 (missing, invalid, expired) or 3006 (see ``credential``).
    """
    word = credential(header, target)
    if accepts_self_hosted(word):
        return Grant()
    if tokens is None:
        raise invalid_authorization()
    return tokens.open(word, now_seconds)
