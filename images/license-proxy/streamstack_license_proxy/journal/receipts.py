"""What an authority says of usage that was brought to it as a file: a JWT, signed with a key of the license's ring."""

import jwt
from pydantic import ValidationError

from streamstack_common.keyring import Keyring
from streamstack_common.usage_export import RECEIPT_AUDIENCE, Receipt


class ReceiptError(ValueError):
    """It is no receipt, or anybody's; the message holds nothing of it."""


def verify_receipt(token: bytes, keyring: Keyring) -> Receipt:
    """Return what a receipt says.

    Raises:
        ReceiptError: it is not signed by one of the keys, or no receipt.

    """
    try:
        text = token.decode("ascii").strip()
        kid = jwt.get_unverified_header(text).get("kid")
    except (UnicodeDecodeError, jwt.InvalidTokenError, RecursionError):
        raise ReceiptError("expected a JWT: three base64url parts joined by dots") from None
    key = keyring.keys.get(kid) if isinstance(kid, str) else None
    if key is None:
        raise ReceiptError(f"it is signed with another key than {', '.join(sorted(keyring.keys))}")
    try:
        # A receipt never expires: what is in a ledger stays there.
        claims = jwt.decode(
            text,
            key,
            algorithms=[key.algorithm_name],
            audience=RECEIPT_AUDIENCE,
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_sub": False},
        )
        return Receipt.model_validate(claims)
    except jwt.InvalidSignatureError:
        raise ReceiptError(f"the signature is not that of key {kid}") from None
    except (jwt.InvalidAudienceError, jwt.MissingRequiredClaimError):
        raise ReceiptError(f"it is signed, but for another audience; expected {RECEIPT_AUDIENCE!r}") from None
    except (jwt.InvalidTokenError, ValidationError, RecursionError):
        raise ReceiptError("it is signed, but no receipt: expected sub, a journal, and through, a record") from None
