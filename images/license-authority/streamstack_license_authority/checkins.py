"""What the authority answers to a check-in: decided from the license and the ledger alone."""

from dataclasses import dataclass

from streamstack_common.authority import CheckIn, Verdict
from streamstack_common.license import License, LicenseError, verify
from streamstack_license_authority.ledger.licenses import LicenseRow
from streamstack_license_authority.signing import SigningKey, SigningKeys


class ForeignLicenseError(ValueError):
    """The license is none of this authority's."""


class WrongApiKeyError(Exception):
    """The API key is not the customer's."""


@dataclass(frozen=True, slots=True)
class OwnLicense:
    """A license that a key of this authority signed, and that key."""

    claims: License
    signer: SigningKey


def own_license(token: str, keys: SigningKeys) -> OwnLicense:
    """Return the claims of an authentic license, whenever it is valid.

    Raises:
        ForeignLicenseError: it is none that this authority signed.

    """
    try:
        claims = verify(token.encode(), keys.keyring)
    except (LicenseError, UnicodeEncodeError) as error:
        raise ForeignLicenseError(f"license: {error}") from error
    return OwnLicense(claims, keys.signer_of(token.strip()))


def known_license(license_: OwnLicense, row: LicenseRow | None) -> LicenseRow:
    """Return what the ledger knows of a license.

    Raises:
        ForeignLicenseError: nothing; another authority with the same key issued it, or the ledger is an old one.

    """
    if row is None:
        raise ForeignLicenseError(f"license {license_.claims.license_id}: expected one that is in the ledger")
    return row


def judge(
    checkin: CheckIn, *, license_: OwnLicense, row: LicenseRow | None, key_owner: str | None, now_seconds: int
) -> Verdict:
    """Return what to say of a license; ``row`` is what the ledger knows of it, ``key_owner`` whose API key came along.

    Raises:
        ForeignLicenseError: the ledger does not know it.
        WrongApiKeyError: usage is to be reported, and the key that came along cannot do it.

    """
    claims, row = license_.claims, known_license(license_, row)
    if claims.billing == "usage" and not claims.offline and key_owner != claims.customer:
        raise WrongApiKeyError
    said = "good" if row.revoked_at_ms is None else "revoked"
    return Verdict.model_validate(
        {"sub": claims.license_id, "nonce": checkin.nonce, "iat": now_seconds, "verdict": said}
    )
