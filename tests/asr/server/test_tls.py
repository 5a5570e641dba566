from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from streamstack_asr.server.tls import TlsError, read_certificate
from support.certificates import self_signed, write_self_signed


def test_a_certificate_and_its_key_are_read_as_they_are(tmp_path: Path) -> None:
    certificate_file, key_file = write_self_signed(tmp_path, "asr-english")
    assert read_certificate(str(certificate_file), str(key_file)) == (
        certificate_file.read_bytes(),
        key_file.read_bytes(),
    )


@pytest.mark.parametrize("spoil", ["no certificate", "no key", "not PEM", "another's key", "encrypted key"])
def test_files_that_cannot_be_used_are_named_and_their_content_is_not(tmp_path: Path, spoil: str) -> None:
    certificate_file, key_file = write_self_signed(tmp_path, "asr-english")
    if spoil == "no certificate":
        certificate_file.unlink()
    elif spoil == "no key":
        key_file.unlink()
    elif spoil == "not PEM":
        certificate_file.write_text("a certificate, honestly")
    elif spoil == "another's key":
        key_file.write_bytes(self_signed("asr-english")[1])
    else:
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        encryption = serialization.BestAvailableEncryption(b"secret")
        key_file.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        )
    with pytest.raises(TlsError, match=r"tls\.crt with key .*tls\.key: .*expected a PEM certificate chain") as error:
        read_certificate(str(certificate_file), str(key_file))
    assert "honestly" not in str(error.value)
