"""Asking pods: real HTTP servers on loopback addresses, each of them a pod."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from streamstack_common.license_status import LicenseReport, LicenseState
from streamstack_common.usage import UsageBacklog
from streamstack_operator.facts import PodFacts, ProxyFacts
from streamstack_operator.names import Component
from streamstack_operator.scrape import ANSWER_BYTES, Scraper

TOKEN = "the-present-token-of-the-stack"  # noqa: S105 - made up
NEXT = "the-next-token-of-the-stack!"
PORTS = {Component.GATEWAY: 8090, Component.ASR: 8090, Component.LICENSE: 8080}
REPORT = {
    "instance_id": "i",
    "revision": "aa",
    "admission": "open",
    "generation": 0,
    "sessions": 3,
    "oldest_started_at": None,
    "capacity": 32,
    "max_sessions": 128,
    "pools": {},
}
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def a_pod(ip: str | None, component: Component = Component.GATEWAY) -> PodFacts:
    return PodFacts(
        name=f"pod-{ip}",
        uid=f"uid-{ip}",
        component=component,
        pool=None,
        revision="aa",
        ip=ip,
        ready=True,
        terminating=False,
        traffic=True,
    )


@asynccontextmanager
async def serving(pod: PodFacts, body: Any, *, tokens: tuple[str, ...] = (TOKEN,)) -> AsyncIterator[None]:
    """A pod's port, on its own loopback address: reports ``body``, or does what ``body`` does."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") not in {f"Bearer {token}" for token in tokens}:
            return web.Response(status=401)
        return await body(request) if callable(body) else web.json_response(body)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, pod.ip, PORTS[pod.component]).start()
    try:
        yield
    finally:
        await runner.cleanup()


@pytest.fixture
def addresses(worker_id: str) -> Callable[[int], str]:
    """Loopback addresses that no other worker of the run uses: pods have fixed ports."""
    worker = int(worker_id.removeprefix("gw")) + 1 if worker_id.startswith("gw") else 0
    return lambda number: f"127.77.{worker}.{number}"


async def test_reports_come_by_uid(addresses: Callable[[int], str]) -> None:
    first, second = a_pod(addresses(1)), a_pod(addresses(2), Component.ASR)
    async with serving(first, REPORT), serving(second, REPORT | {"sessions": 0}), Scraper() as scraper:
        reports = await scraper.reports([first, second], TOKEN)
    assert {uid: report.sessions for uid, report in reports.items()} == {first.uid: 3, second.uid: 0}


async def test_unknown_is_busy_what_cannot_be_asked_has_no_report(addresses: Callable[[int], str]) -> None:
    """Nobody there, no address yet, no credential, no report, too long a report, another pod's, no end."""
    never = asyncio.Event()

    async def endless(_request: web.Request) -> web.StreamResponse:
        await never.wait()
        raise AssertionError

    async def long(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=b" " * (ANSWER_BYTES + 1))

    bodies: dict[int, Any] = {
        2: {"hello": "world"},
        3: REPORT | {"revision": "bb"},
        4: endless,
        5: long,
        6: REPORT | {"sessions": -1},
    }
    pods = {number: a_pod(addresses(number)) for number in range(1, 8)}
    async with Scraper(answer_seconds=0.5) as scraper, asyncio.TaskGroup() as group:
        stop = asyncio.Event()

        async def stand(number: int, tokens: tuple[str, ...], up: asyncio.Event) -> None:
            async with serving(pods[number], bodies.get(number, REPORT), tokens=tokens):
                up.set()
                await stop.wait()

        ups = []
        for number in range(2, 8):
            ups.append(asyncio.Event())
            group.create_task(stand(number, (NEXT,) if number == 7 else (TOKEN,), ups[-1]))
        await asyncio.gather(*(up.wait() for up in ups))
        assert await scraper.reports([*pods.values(), a_pod(None)], TOKEN) == {}
        stop.set()


def a_proxy(**bodies: Any) -> Answer:
    """What a license proxy answers by the last part of the path; 404 for the rest, as its previous version does."""

    async def answer(request: web.Request) -> web.StreamResponse:
        body = bodies.get(request.path.rpartition("/")[2])
        return web.Response(status=404) if body is None else web.json_response(body)

    return answer


STATUS = {"state": "Connected", "last_successful_checkin": None, "trust_expiration": None}
LICENSE = STATUS | {"billing": "usage", "customer": "Example Ltd"}


async def test_every_proxy_is_asked_for_its_license_and_its_own_backlog(addresses: Callable[[int], str]) -> None:
    first, second, away = (a_pod(addresses(number), Component.LICENSE) for number in (1, 2, 3))
    one = a_proxy(status=STATUS | {"extra_keys": True}, license=LICENSE, backlog={"records": 7, "oldest_seconds": 2.5})
    other = a_proxy(status=STATUS, license=LICENSE | {"state": "Failed", "cause": "expired"}, backlog={"records": 0})
    async with serving(first, one), serving(second, other), Scraper() as scraper:
        found = await scraper.proxies([first, second, away, a_pod(addresses(4))], TOKEN)
    assert found.keys() == {first.uid, second.uid}
    assert found[first.uid] == ProxyFacts(
        license=LicenseReport(state=LicenseState.CONNECTED, billing="usage", customer="Example Ltd"),
        extra_keys=True,
        backlog=UsageBacklog(records=7, oldest_seconds=2.5),
    )
    assert found[second.uid].backlog == UsageBacklog()
    report = found[second.uid].license
    assert report is not None
    assert (report.state, report.cause) == (LicenseState.FAILED, "expired")


async def test_a_proxy_of_the_previous_version_tells_of_its_license_and_not_of_a_backlog(
    addresses: Callable[[int], str],
) -> None:
    pod = a_pod(addresses(1), Component.LICENSE)
    async with serving(pod, a_proxy(status=STATUS, license=LICENSE)), Scraper() as scraper:
        found = (await scraper.proxies([pod], TOKEN))[pod.uid]
    assert found.license is not None
    assert found.backlog is None, "unknown, and not empty"


@pytest.mark.parametrize("backlog", [{"records": -1}, {"records": "many"}, [], "0"], ids=str)
async def test_unknown_is_busy_an_answer_that_makes_no_sense_is_no_backlog(
    addresses: Callable[[int], str], backlog: Any
) -> None:
    pod = a_pod(addresses(1), Component.LICENSE)
    async with serving(pod, a_proxy(license=LICENSE, backlog=backlog)), Scraper() as scraper:
        found = (await scraper.proxies([pod], TOKEN))[pod.uid]
    assert found.license is not None
    assert found.backlog is None


async def test_a_proxy_that_says_nothing_is_not_there(addresses: Callable[[int], str]) -> None:
    pod = a_pod(addresses(1), Component.LICENSE)
    async with serving(pod, a_proxy(license={"state": "Splendid"})), Scraper() as scraper:
        assert await scraper.proxies([pod], TOKEN) == {}
        assert await scraper.proxies([], TOKEN) == {}


async def test_only_pods_that_take_the_announced_token_accept_it(addresses: Callable[[int], str]) -> None:
    old, new, silent = (a_pod(addresses(number)) for number in (1, 2, 3))
    async with serving(old, REPORT), serving(new, REPORT, tokens=(TOKEN, NEXT)), Scraper() as scraper:
        assert await scraper.accepting([old, new, silent], NEXT) == {new.uid}
