"""Usage billing as a vendor and a customer have it: an authority, a stack with two license proxies, real clients.

The stack's proxies check in every minute, so that what they learn takes up to one.
"""

from pathlib import Path

import jwt
import pytest
from e2e.license.conftest import PROXIES, Billing
from e2e.support.license_authority import CUSTOMER
from e2e.support.speaker import SENTENCES, opening, speaking
from e2e.support.stack import Stack, eventually, name_of
from websockets.exceptions import ConnectionClosed

pytestmark = pytest.mark.asyncio(loop_scope="module")

POLICY_VIOLATION = 1008
"""How a gateway closes whom the license does not admit."""


async def test_the_stack_tells_that_its_proxies_have_checked_in(billing: Billing) -> None:
    async def are_ready() -> bool:
        return bool((await billing.stack.status())["license"]["ready"] == f"{PROXIES}/{PROXIES}")

    await billing.tells("Connected")
    await eventually(are_ready)
    told = (await billing.stack.status())["license"]
    assert (told["customer"], told["billing"], told["extraKeys"]) == (CUSTOMER, "usage", True)
    condition = await billing.stack.condition("LicenseValid")
    assert (condition["status"], condition["reason"]) == ("True", "Connected")


async def test_billed_once_a_session_is_billed_by_its_very_milliseconds(billing: Billing) -> None:
    await billing.stream(*SENTENCES[:2])
    await eventually(billing.is_billed)
    await billing.owes_nothing()


async def test_billed_once_without_the_authority_sessions_go_on_and_are_billed_when_it_is_back(
    billing: Billing,
) -> None:
    async def owes_something() -> bool:
        return bool(await billing.backlog())

    async with billing.authority.away():
        await billing.tells("TrustBased")
        condition = await billing.stack.condition("LicenseValid")
        assert (condition["status"], condition["reason"]) == ("True", "TrustBased")
        await billing.stream(SENTENCES[2])
        await eventually(owes_something)
    await billing.tells("Connected")
    await eventually(billing.is_billed)
    await billing.owes_nothing()
    assert (await billing.stack.condition("UsageBacklog"))["status"] == "False"


async def test_billed_once_usage_that_goes_as_files_as_well_is_billed_no_more(billing: Billing) -> None:
    """The way of a stack without a network: docs/command-line.md."""
    for pod in map(name_of, await billing.stack.pods("license-proxy")):
        file = billing.folder / f"{pod}.jsonl.gz"
        await billing.at_proxy(pod, "export", "--out", file, "--after", "0")
        told = await billing.authority.streamstack("usage", "import", file)
        assert f"customer {CUSTOMER}: 0 accepted" in told
        await billing.at_proxy(pod, "receipt", f"{file}.receipt")
    assert await billing.is_billed()


async def test_no_cut_a_revoked_license_admits_nobody_new_and_bills_the_session_that_lives(billing: Billing) -> None:
    async def is_closed() -> bool:
        return await admission(billing.stack) == POLICY_VIOLATION

    async with speaking(billing.stack.endpoint) as speaker:
        await billing.authority.streamstack("license", "revoke", license_id(billing.folder / "license.jwt"))
        await eventually(is_closed)
        await billing.tells("Failed")
        assert "revoked" in (await billing.stack.condition("LicenseValid"))["message"]
        await speaker.hears()
        await speaker.finish()
        billing.spoken_ms += speaker.sent_ms
    await eventually(billing.is_billed)


async def admission(stack: Stack) -> int | None:
    """Close code that a new client gets; one that is admitted says good-bye at once, and is billed nothing."""
    async with opening(stack.endpoint) as client:
        try:
            await client.recv()
            await client.send('{"type": "Terminate"}')
            while True:
                await client.recv()
        except ConnectionClosed:
            return client.close_code


def license_id(path: Path) -> str:
    """Return a license's own name, as ``streamstack license inspect`` tells it."""
    claims = jwt.decode(path.read_text().strip(), options={"verify_signature": False}, audience="streamstack")
    return str(claims["jti"])
