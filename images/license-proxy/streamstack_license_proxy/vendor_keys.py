"""The vendor's public keys, which ship in the package."""

from importlib.resources import files

from streamstack_common.keyring import Keyring, parse_jwks


def vendor_keyring() -> Keyring:
    """Return the keys that ship in the package."""
    document = files("streamstack_license_proxy").joinpath("keys", "vendor.jwks.json").read_bytes()
    return Keyring(parse_jwks(document, source="vendor keys"))
