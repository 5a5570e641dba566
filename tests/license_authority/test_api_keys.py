import pytest

from streamstack_license_authority.api_keys import new_api_key, parse_bearer


def test_a_key_is_found_in_its_header_and_proved_by_its_hash() -> None:
    key = new_api_key()
    found = parse_bearer(f"Bearer {key.text}")
    assert found == key
    assert found.matches(key.secret_hash)
    assert not found.matches(new_api_key().secret_hash)
    assert parse_bearer(f"bearer {key.text}") == key


def test_a_key_does_not_show_its_secret() -> None:
    key = new_api_key()
    assert key.secret not in repr(key)


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Basic ssk_x", "Bearer ssk_0123456789abcdef_short", "ssk_a_b"]
)
def test_anything_else_is_no_key(header: str | None) -> None:
    assert parse_bearer(header) is None
