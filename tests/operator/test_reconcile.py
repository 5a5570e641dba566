"""One pass after the other, in this process: what it costs, and what it says of specs that no schema let through."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from streamstack_operator.build.rendering import NEWEST
from streamstack_operator.cache import Cache
from streamstack_operator.facts import Problem, Release, StackKey
from streamstack_operator.kube import Kube, connect
from streamstack_operator.names import Reason
from streamstack_operator.reconcile import NEVER, Reconciler
from streamstack_operator.scrape import Scraper
from streamstack_operator.settings import OperatorSettings
from streamstack_operator.wiring import WATCHED, labels_of
from support.namespaces import Namespace
from support.operated import Operated, operated, stack

pytestmark = pytest.mark.usefixtures("stack_crd")


class Passes:
    """A reconciler whose clock is the test's, and whose cache is filled by lists instead of watches."""

    def __init__(self, kube: Kube, scraper: Scraper, namespace: str) -> None:
        images = OperatorSettings(credential_file="-").images
        self.kube, self.namespace, self.cache = kube, namespace, Cache()
        self.now = datetime.now(UTC)
        release = Release(version="0", renderer=NEWEST, images=images)
        self.reconciler = Reconciler(
            kube=kube, cache=self.cache, scraper=scraper, release=release, clock=lambda: self.now
        )

    async def list(self) -> None:
        for kind in WATCHED:
            found = await self.kube.snapshot(
                kind.api_version, kind.kind, namespace=self.namespace, labels=labels_of(kind)
            )
            self.cache.replace(
                kind.api_version, kind.kind, found.items, namespace=self.namespace, at=found.resource_version
            )

    async def one(self, name: str = "demo") -> float:
        return await self.reconciler(StackKey(self.namespace, name))

    def conditions(self) -> dict[str, dict[str, Any]]:
        status = (self.cache.stack(StackKey(self.namespace, "demo")) or {}).get("status") or {}
        return {condition["type"]: condition for condition in status.get("conditions") or []}


@pytest.fixture
async def place(namespace: Namespace, tmp_path: Path) -> AsyncIterator[Operated]:
    async with operated(namespace, tmp_path) as it:
        yield it


@pytest.fixture
async def passes(place: Operated) -> AsyncIterator[Passes]:
    async with await connect(place.namespace.kubeconfig) as kube, Scraper() as scraper:
        yield Passes(kube, scraper, place.namespace.namespace)


async def settled(place: Operated, passes: Passes) -> None:
    """Make passes until one asks for nothing and changes nothing."""

    async def nothing_to_do() -> bool:
        await passes.list()
        before = passes.kube.requests.total()
        await passes.one()
        ready = passes.conditions().get("Ready", {}).get("status") == "True"
        return ready and passes.kube.requests.total() == before

    await place.until(nothing_to_do, why=lambda: str(passes.conditions()))


async def test_an_idle_stack_costs_at_most_two_requests_a_minute(place: Operated, passes: Passes) -> None:
    """Half an hour of passes every 30 seconds, lists every ten minutes included (DESIGN 8)."""
    await place.give_license()
    await place.apply(stack())
    await settled(place, passes)
    before = passes.kube.requests.total()
    for number in range(60):
        passes.now += timedelta(seconds=30)
        if number % 20 == 0:
            await passes.list()
        assert await passes.one() == 30
    assert passes.kube.requests.total() - before <= 2 * 30


async def test_sessions_that_come_and_go_do_not_cost_a_write_each(place: Operated, passes: Passes) -> None:
    await place.give_license()
    await place.apply(stack())
    await settled(place, passes)
    (gateway,) = place.kubelet.of("gateway")
    gateway.sessions = 100
    await settled(place, passes)
    before = passes.kube.requests.total()
    for number in range(20):
        gateway.sessions = 100 + number % 5
        await passes.list()
        await passes.one()
    assert passes.kube.requests.total() - before == 20 * len(WATCHED)


async def test_a_spec_that_an_older_definition_let_through_is_refused_and_its_children_stay(
    place: Operated, passes: Passes
) -> None:
    await place.give_license()
    await place.apply(stack())
    await settled(place, passes)
    key = StackKey(passes.namespace, "demo")
    manifest = passes.cache.stack(key)
    assert manifest is not None
    children = set(passes.cache.children(manifest["metadata"]["uid"]))
    bad = {**manifest, "spec": {**manifest["spec"], "gateway": {"capacity": -1}}}
    bad["metadata"] = {**manifest["metadata"], "resourceVersion": str(int(manifest["metadata"]["resourceVersion"]) + 1)}
    passes.cache.upsert(bad)
    await passes.one()
    await passes.list()
    accepted = passes.conditions()["Accepted"]
    assert (accepted["status"], accepted["reason"]) == ("False", Reason.INVALID_SPEC)
    assert "gateway.capacity" in accepted["message"]
    assert set(passes.cache.children(manifest["metadata"]["uid"])) == children


async def test_an_outdated_definition_is_said_and_nothing_is_done(place: Operated, passes: Passes) -> None:
    await place.give_license()
    await place.apply(stack())
    passes.reconciler.crd_problem = Problem(Reason.CRD_OUTDATED, "the CRD lacks spec.gateway.env: apply crds/")
    await passes.list()
    await passes.one()
    await passes.list()
    accepted = passes.conditions()["Accepted"]
    assert (accepted["reason"], "apply crds/" in accepted["message"]) == (Reason.CRD_OUTDATED, True)
    assert await place.namespace.list("apps/v1", "Deployment") == []
    passes.reconciler.crd_problem = None
    await settled(place, passes)


async def test_a_stack_that_is_gone_is_not_looked_at_again(passes: Passes) -> None:
    assert await passes.one("nobody") == NEVER
