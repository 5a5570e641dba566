"""``python -m streamstack_license_authority``."""

import asyncio
import logging
import os

from sqlalchemy.exc import DBAPIError

from streamstack_common import logs, process
from streamstack_common.credential import Credential, CredentialError
from streamstack_common.internal_http import authority
from streamstack_common.settings import load, refuse_start
from streamstack_license_authority.ledger.database import UNREACHABLE, Database, reason_of
from streamstack_license_authority.ledger.migrations import SchemaError
from streamstack_license_authority.service import listen, serve, tls_context
from streamstack_license_authority.settings import LicenseAuthoritySettings
from streamstack_license_authority.signing import SigningKeyError, SigningKeys, read_key, read_or_make_key


def main() -> None:
    """Run the license authority; exits 2 when its configuration cannot be used."""
    process.seal()
    os.umask(0o077)  # the ledger is nobody else's to read
    process.die_with_parent()
    process.open_files_to_the_limit()
    settings = load(LicenseAuthoritySettings)
    logs.configure(
        service="license-authority", level=settings.logging_level, structured=settings.use_structured_logging
    )
    # Both say too much: the second one, what it reads.
    for name in ("uvicorn", "sqlalchemy"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        credential = Credential(settings.credential_file)
        keys = SigningKeys(
            read_or_make_key(settings.signing_key, kid=settings.signing_key_id),
            [read_key(path, kid=kid) for kid, path in settings.former_signing_keys],
        )
    except (CredentialError, SigningKeyError) as error:
        refuse_start([str(error)])
    try:
        tls = tls_context(settings)
    except OSError as error:
        refuse_start([f"TLS_CERTIFICATE_FILE, TLS_KEY_FILE: expected a certificate and its key, PEM: {error.strerror}"])
    database = Database(settings.database)
    try:
        try:
            database.prepare()
        except (DBAPIError, SchemaError, *UNREACHABLE) as error:
            refuse_start([f"DATABASE_URL: the ledger cannot be used: {reason_of(error)}"])
        try:
            listener = listen(settings)
        except OSError as error:
            refuse_start([f"HOST, PORT: cannot listen at {authority(settings.host, settings.port)}: {error.strerror}"])
        asyncio.run(serve(settings, listener, credential=credential, keys=keys, database=database, tls=tls))
    finally:
        database.close()


if __name__ == "__main__":
    main()
