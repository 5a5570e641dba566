from pathlib import Path
from typing import Any

import jwt

from streamstack_common.authority import CheckInAnswer, Verdict
from streamstack_common.keyring import Keyring, parse_jwks
from streamstack_common.license import verify
from support.authority_process import AuthorityProcess, authority_process

NONCE = "n" * 22


async def check_in(authority: AuthorityProcess, license_: str, *, api_key: str | None) -> tuple[Verdict, str]:
    """The verdict, and which key signed it."""
    body = {"license": license_, "nonce": NONCE, "instance_id": "proxy-0"}
    status, answer = await authority.post("/v1/checkins", body, token=api_key)
    assert status == 200, answer
    token = CheckInAnswer.model_validate(answer).answer
    kid = jwt.get_unverified_header(token)["kid"]
    key = parse_jwks(await authority.jwks(), source="test")[kid]
    said = jwt.decode(token, key, algorithms=["EdDSA", "RS256"], audience="streamstack-checkin")
    return Verdict.model_validate(said), kid


async def test_a_license_is_issued_checked_and_revoked_and_no_secret_is_logged(
    tmp_path: Path, database_url: str
) -> None:
    async with authority_process(
        tmp_path, DATABASE_URL=database_url, PUBLIC_URL="https://authority.example", LOGGING_LEVEL="DEBUG"
    ) as authority:
        issued = await authority.issue(customer="acme", max_sessions=7, models=["english"])
        claims = verify(issued.license.encode(), Keyring(parse_jwks(await authority.jwks(), source="test")))
        assert (claims.customer, claims.max_sessions, claims.models) == ("acme", 7, ("english",))
        assert claims.authority == "https://authority.example"
        assert issued.api_key is not None

        verdict, _ = await check_in(authority, issued.license, api_key=issued.api_key)
        assert (verdict.verdict, verdict.nonce, verdict.license_id) == ("good", NONCE, issued.license_id)
        _, facts = await authority.get(f"/v1/licenses/{issued.license_id}")
        assert (facts["customer"], facts["billing"], facts["offline"]) == ("acme", "usage", False)
        assert (facts["revoked_at"], facts["last_instance_id"]) == (None, "proxy-0")
        assert facts["last_checkin_at"] is not None

        path = f"/v1/licenses/{issued.license_id}/revoke"
        first = await authority.post(path, {"reason": "unpaid"})
        assert first[1]["revoke_reason"] == "unpaid"
        assert await authority.post(path, {"reason": "another"}) == first
        assert (await check_in(authority, issued.license, api_key=issued.api_key))[0].verdict == "revoked"

        assert await authority.stop() == 0
        for secret in (issued.license, issued.api_key, authority.token, "PRIVATE KEY", NONCE):
            assert secret not in authority.log


async def test_an_api_key_comes_where_usage_is_reported_over_the_network(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        flat, offline = await authority.issue(billing="flat"), await authority.issue(offline=True)
        assert (flat.api_key, offline.api_key) == (None, None)
        assert (await check_in(authority, flat.license, api_key=None))[0].verdict == "good"


async def test_a_check_in_wants_the_customers_own_key_and_a_license_of_this_authority(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    async with authority_process(tmp_path) as authority, authority_process(other) as stranger:
        issued, foreign = await authority.issue(customer="acme"), await stranger.issue(customer="acme")
        rival = await authority.issue(customer="rival")
        ask = {"license": issued.license, "nonce": NONCE, "instance_id": "proxy"}
        for key in (None, "wrong", rival.api_key, foreign.api_key, authority.token):
            status, body = await authority.post("/v1/checkins", ask, token=key)
            assert (status, list(body)) == (401, ["error"])
        second = await authority.issue(customer="acme")
        assert (await check_in(authority, issued.license, api_key=second.api_key))[0].verdict == "good"
        status, body = await authority.post("/v1/checkins", {**ask, "license": foreign.license}, token=foreign.api_key)
        assert status == 422
        assert "license: signed with key" in body["error"]


async def test_after_a_new_signing_key_former_licenses_are_answered_with_their_own(tmp_path: Path) -> None:
    async with authority_process(tmp_path, SIGNING_KEY_ID="first") as authority:
        issued = await authority.issue()
    key = tmp_path / "authority/signing-key.pem"
    former = key.rename(tmp_path / "former.pem")
    async with authority_process(
        tmp_path, SIGNING_KEY_ID="second", FORMER_SIGNING_KEY_FILES=f"first={former}"
    ) as authority:
        later = await authority.issue()
        assert (await check_in(authority, issued.license, api_key=issued.api_key))[1] == "first"
        assert (await check_in(authority, later.license, api_key=issued.api_key))[1] == "second"


async def test_a_wish_that_makes_no_sense_is_refused_by_name(tmp_path: Path) -> None:
    wish = {"customer": "a", "billing": "flat", "models": ["*"], "trust_window_seconds": 1, "valid_seconds": 1000}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"customer": ""}, "customer: "),
        ({"customer": " "}, "customer: Value error, expected no space at its beginning or end"),
        ({"customer": "a\u202e"}, "customer: Value error, expected printable characters alone"),
        ({"customer": "e\u0301"}, "customer: Value error, expected Unicode's normal form C"),
        ({"billing": "free"}, "billing: "),
        ({"colour": "blue"}, "colour: "),
        ({"valid_seconds": None}, "valid_seconds: "),
        ({"valid_from": "9999-12-31T23:59:00Z"}, "exp: "),
    ]
    async with authority_process(tmp_path) as authority:
        for changes, complaint in cases:
            status, body = await authority.post("/v1/licenses", {**wish, **changes})
            assert status == 422
            assert complaint in body["error"]


async def test_what_is_no_license_of_the_ledger_cannot_be_shown_or_revoked(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        assert (await authority.get(f"/v1/licenses/{'0' * 32}"))[0] == 404
        assert (await authority.post(f"/v1/licenses/{'0' * 32}/revoke", {}))[0] == 404
        assert (await authority.get("/v1/licenses/nonsense"))[0] == 422
        issued = await authority.issue()
        status, body = await authority.post(f"/v1/licenses/{issued.license_id}/revoke", {"reason": 7})
        assert (status, body) == (422, {"error": "reason: Input should be a valid string"})


async def test_an_offline_license_cannot_be_revoked_and_who_tries_is_told(tmp_path: Path, database_url: str) -> None:
    async with authority_process(tmp_path, DATABASE_URL=database_url) as authority:
        issued = await authority.issue(offline=True)
        status, body = await authority.post(f"/v1/licenses/{issued.license_id}/revoke", {"reason": "unpaid"})
        assert (status, list(body)) == (409, ["error"])
        assert "is offline: no license proxy ever asks about it" in body["error"]
        _, facts = await authority.get(f"/v1/licenses/{issued.license_id}")
        assert (facts["revoked_at"], facts["revoke_reason"]) == (None, None)


async def test_a_body_larger_than_any_good_one_is_refused(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        status, body = await authority.post("/v1/checkins", {"license": "x" * 100_000}, token=None)
        assert (status, body) == (413, {"error": "body: expected at most 81920 bytes"})
