"""``python -m streamstack_license_authority.openapi`` writes the API's description to standard output."""

import json
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.engine import make_url

from streamstack_license_authority.app import build_app
from streamstack_license_authority.ledger.database import Database
from streamstack_license_authority.metrics import Metrics
from streamstack_license_authority.parts import Parts
from streamstack_license_authority.signing import SigningKey, SigningKeys


def document() -> str:
    """Return the description of the API as JSON: what ``/openapi.json`` says, laid out to be read and compared."""
    # Parts that nobody calls: the routes' description needs none of them, and a database opens when it is used.
    parts = Parts(
        database=Database(make_url("sqlite:///unused")),
        keys=SigningKeys(SigningKey("unused", Ed25519PrivateKey.generate())),
        metrics=Metrics(),
        public_url="http://localhost",
        is_admin=lambda _header: False,
    )
    return json.dumps(build_app(parts).openapi(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
