"""What is asked of kopf: watches of named kinds, with labels, and nothing written anywhere."""

import asyncio
import contextvars
import logging
from typing import Any

import pytest

from streamstack_operator import wiring
from streamstack_operator.kube import Access
from streamstack_operator.kube.kinds import STACK

ACCESS = Access(
    server="https://api:6443",
    authorization="bearer abc",
    ca_file=None,
    certificate_file=None,
    key_file=None,
    verify=True,
    proxy=None,
)


async def access() -> Access:
    return ACCESS


def nothing(_manifest: dict[str, Any]) -> None:
    pass


def test_every_selector_names_group_version_and_plural():
    """Without a group kopf scans all of them, and one aggregated API that is down ends the process."""
    registry = wiring.make_registry(seen=nothing, gone=nothing, access=access)
    selectors = [handler.selector for handler in registry._watching.get_all_handlers()]
    assert len(selectors) == len(wiring.WATCHED)
    for selector in selectors:
        assert selector is not None
        assert selector.group is not None
        assert selector.version
        assert selector.plural


def test_nothing_but_events_is_handled_so_that_no_object_is_written_to():
    registry = wiring.make_registry(seen=nothing, gone=nothing, access=access)
    for kind in ("_changing", "_spawning", "_indexing", "_webhooks"):
        assert not list(getattr(registry, kind).get_all_handlers())


def test_all_but_stacks_are_watched_by_label():
    settings = wiring.make_settings()
    labelled = {(each.group, each.version, each.any_name) for each in settings.watching.label_selectors}
    assert labelled == {(kind.group, kind.version, kind.plural) for kind in wiring.WATCHED if kind != STACK}


def test_kopf_writes_no_events_and_scans_no_crds():
    settings = wiring.make_settings()
    assert settings.peering.standalone
    assert settings.scanning.disabled
    assert not settings.posting.enabled


async def test_kopf_logs_in_as_the_operator_does_and_the_same_login_is_the_same_to_it():
    registry = wiring.make_registry(seen=nothing, gone=nothing, access=access)
    (login,) = registry._activities.get_all_handlers()
    context = contextvars.copy_context()
    context.run(wiring._made_by_kopf.set, wiring._Made())
    info: Any = await asyncio.create_task(login.fn(), context=context)
    assert info.server == "https://api:6443"
    async with info.aiohttp_session as http:
        assert http.headers["Authorization"] == "bearer abc"
        # A login that was refused is refused for good, not tried without end: kopf tells by equality.
        assert await asyncio.create_task(login.fn(), context=context) == info


def test_a_credential_is_not_shown():
    assert "abc" not in repr(ACCESS)


@pytest.mark.parametrize(("message", "passes"), [("Request attempt #1 failed", False), ("Something else", True)])
def test_attempts_of_ten_streams_are_kept_out_of_the_log(message, passes):
    record = logging.LogRecord("kopf", logging.ERROR, "", 0, message, None, None)
    assert wiring._Outages().filter(record) is passes
