"""Whether the CRD is there and new enough: what stacks, readiness and the log are told."""

import asyncio
from collections.abc import Mapping
from typing import Any

from streamstack_operator.crd_watch import MISSING, NOT_ASKED, CrdWatch
from streamstack_operator.facts import Problem
from streamstack_operator.kube import ApiUnavailableError
from streamstack_operator.names import Reason
from support.waiting import Waiting

FIELDS = {"a", "b", "c", "d", "e", "f", "g"}


class Server(Waiting):
    """An API server that serves a CRD with some of the fields, none at all, or is away."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: set[str] | None = None
        self.away = False
        self.asked = 0

    async def served_schema(self) -> Mapping[str, Any] | None:
        self.asked += 1
        self.notify()
        if self.away:
            raise ApiUnavailableError("host", "does not answer")
        return None if self.fields is None else dict.fromkeys(self.fields)


def missing(schema: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(FIELDS - set(schema)))


def watch_of(server: Server, told: list[Problem | None], **more: Any) -> CrdWatch:
    return CrdWatch(server, missing, changed=told.append, **more)


async def test_a_missing_crd_an_older_one_and_ours_are_told_apart(caplog):
    server, told = Server(), list[Problem | None]()
    watch = watch_of(server, told)
    assert (watch.problem, watch.served.is_set()) == (NOT_ASKED, False)
    await watch.look()
    assert (watch.problem, watch.served.is_set(), told) == (MISSING, False, [])

    server.fields = FIELDS - {"a", "b"}
    await watch.look()
    assert watch.served.is_set()
    (outdated,) = told
    assert outdated is not None
    assert outdated.reason is Reason.CRD_OUTDATED
    assert "it lacks a, b: apply the one of this operator's version" in outdated.message
    assert watch.problem == outdated.message

    server.fields = FIELDS
    await watch.look()
    assert (watch.problem, told[1:]) == (None, [None])
    server.fields = None
    await watch.look()
    assert (watch.problem, watch.served.is_set()) == (MISSING, False)
    assert caplog.text.count(MISSING) == 2


async def test_of_many_missing_fields_some_are_named():
    server, told = Server(), list[Problem | None]()
    server.fields = set()
    await watch_of(server, told).look()
    assert told[0] is not None
    assert "it lacks a, b, c, d, e and 2 more" in told[0].message


async def test_what_is_known_stays_while_the_api_server_is_away():
    server, told = Server(), list[Problem | None]()
    server.fields = FIELDS
    watch = watch_of(server, told)
    await watch.look()
    server.away = True
    await watch.look()
    assert (watch.problem, watch.served.is_set()) == (None, True)


async def test_the_same_state_is_told_and_logged_once(caplog):
    server, told = Server(), list[Problem | None]()
    server.fields = FIELDS - {"a"}
    watch = watch_of(server, told)
    for _ in range(3):
        await watch.look()
    assert len(told) == 1
    assert caplog.text.count("it lacks a") == 1


async def test_a_crd_that_was_found_missing_by_somebody_else_is_looked_for_soon():
    server = Server()
    server.fields = FIELDS
    watch = watch_of(server, [], soon_seconds=0.01, every_seconds=3600)
    task = asyncio.create_task(watch.run())
    await asyncio.wait_for(watch.served.wait(), 10)
    server.fields = None
    await watch.look()
    assert not watch.served.is_set()
    server.fields = FIELDS
    await asyncio.wait_for(watch.served.wait(), 10)
    task.cancel()
    await asyncio.wait({task})
