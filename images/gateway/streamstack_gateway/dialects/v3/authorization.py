"""Who may open a session: one word in the ``Authorization`` header, or in the ``token`` parameter.

Protocol facts: ``reference/assemblyai-protocol.md`` 2. The value is raw, without a scheme; ``Bearer`` makes it a
different word, and so an invalid one, as on the hosted service.
"""

import hmac
from collections.abc import Callable, Iterable

from streamstack_gateway.dialects.v3.target import parameters
from streamstack_gateway.errors import invalid_authorization, missing_authorization

SELF_HOSTED = "self-hosted"
"""The fixed word of the self-hosting stack; not a secret."""

Accepts = Callable[[str], bool]


def any_of(words: Iterable[str]) -> Accepts:
    """A predicate that accepts exactly these words, compared in constant time: some may be keys."""
    known = [word.encode() for word in words]

    def accepts(word: str) -> bool:
        given = word.encode("utf-8", "surrogatepass")
        # Every word is compared, so that timing does not tell which one matched.
        return any([hmac.compare_digest(given, one) for one in known])  # noqa: C419

    return accepts


accepts_self_hosted = any_of([SELF_HOSTED])


def authorize(header: str | None, target: str, accepts: Accepts = accepts_self_hosted) -> None:
    """Check an upgrade by its ``Authorization`` header or, where that is absent or empty, its ``token`` parameter.

    Raises SessionError 1008 (missing, invalid), 3006 when the request target cannot be read at all.
    """
    word = (header or "").strip() or parameters(target).get("token", [""])[-1]
    if not word:
        raise missing_authorization()
    if not accepts(word):
        raise invalid_authorization()
