"""One leads, the others stand by, on a real API server and by clocks that nobody compares."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from streamstack_operator.election import Election, LeadershipLostError, Times
from streamstack_operator.facts import Manifest, ObjectKey
from streamstack_operator.kube import ConflictError, Kube, NotFoundError, connect
from support.cut import line_to
from support.kubeconfig import kubeconfig_through, kubeconfig_with_token
from support.namespaces import Namespace
from support.service import ServiceProcess, service, write_credential
from support.waiting import Waiting, eventually

LEASE = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "operator"}}
HURRIED = Times(lease_seconds=2, renew_seconds=1.0, retry_seconds=0.05)
PATIENT = Times(lease_seconds=3600, renew_seconds=10.0, retry_seconds=0.05)
"""Nobody waits for this one to run out: who takes it over was given it."""


class Candidate(Waiting):
    """Somebody who stands for election, and what came of it."""

    def __init__(self, leases: Any, namespace: str, identity: str, times: Times, **more: Any) -> None:
        super().__init__()
        self.election = Election(leases, namespace=namespace, name="operator", identity=identity, times=times, **more)
        self.terms = 0
        self.at_work = False

    async def work(self) -> None:
        self.terms, self.at_work = self.terms + 1, True
        self.notify()
        try:
            await asyncio.Event().wait()
        finally:
            self.at_work = False
            self.notify()

    @asynccontextmanager
    async def standing(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.election.run(self.work))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait({task})
            assert not self.at_work


@pytest.fixture
async def kube(namespace: Namespace) -> AsyncIterator[Kube]:
    async with await connect(namespace.kubeconfig) as it:
        yield it


async def holder(namespace: Namespace) -> str:
    return str((await namespace.get(LEASE))["spec"]["holderIdentity"])


async def test_one_leads_and_its_end_lets_the_next_begin_at_once(kube, namespace):
    first = Candidate(kube, namespace.namespace, "first", PATIENT)
    second = Candidate(kube, namespace.namespace, "second", PATIENT)
    async with first.standing() as leading:
        await first.until(lambda: first.at_work)
        async with second.standing():

            async def stands_by() -> bool:
                return kube.requests["get", "leases"] > 2

            await eventually(stands_by)
            assert await holder(namespace) == "first"
            assert (first.election.leading, second.election.leading) == (True, False)
            leading.cancel()
            await second.until(lambda: second.at_work)
            assert (first.at_work, await holder(namespace)) == (False, "second")
    assert await holder(namespace) == ""


async def test_a_lease_is_written_as_kubernetes_has_it_and_renewed(kube, namespace):
    candidate = Candidate(kube, namespace.namespace, "first", HURRIED)
    async with candidate.standing():
        await candidate.until(lambda: candidate.at_work)
        written = (await namespace.get(LEASE))["spec"]
        assert (written["leaseDurationSeconds"], written["leaseTransitions"]) == (2, 0)
        assert written["acquireTime"] <= written["renewTime"]
        assert written["renewTime"].endswith("Z")

        async def renewed() -> bool:
            return bool((await namespace.get(LEASE))["spec"]["renewTime"] > written["renewTime"])

        await eventually(renewed)
        assert (await namespace.get(LEASE))["spec"]["acquireTime"] == written["acquireTime"]


@asynccontextmanager
async def candidate_process(namespace: Namespace, identity: str, folder: Path) -> AsyncIterator[ServiceProcess]:
    environment = {
        "KUBECONFIG": str(namespace.kubeconfig),
        "POD_NAMESPACE": namespace.namespace,
        "IDENTITY": identity,
        "LEASE_SECONDS": "2",
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "STREAMSTACK_CREDENTIAL_FILE": str(write_credential(folder)),
    }
    async with service(ServiceProcess, "support.candidate", folder=folder, environment=environment) as process:
        yield process


async def test_another_takes_over_from_one_that_was_killed(namespace, tmp_path):
    async with candidate_process(namespace, "first", tmp_path) as first:
        await first.announced()
        async with candidate_process(namespace, "second", tmp_path) as second:
            first.kill()
            await first.wait()
            assert await holder(namespace) == "first"
            await second.announced()
            assert await holder(namespace) == "second"
            assert (await namespace.get(LEASE))["spec"]["leaseTransitions"] == 1
            assert await second.stop() == 0
    assert await holder(namespace) == ""


async def test_one_that_was_deposed_ends_and_touches_the_lease_no_more(kube, namespace):
    candidate = Candidate(kube, namespace.namespace, "first", HURRIED)
    async with candidate.standing() as task:
        await candidate.until(lambda: candidate.at_work)
        await namespace.patch(LEASE, {"spec": {"holderIdentity": "usurper"}})
        with pytest.raises(LeadershipLostError, match="usurper holds lease"):
            await task
        assert not candidate.at_work
    assert await holder(namespace) == "usurper"


async def test_a_lease_that_was_deleted_by_hand_is_made_anew_by_its_holder(kube, namespace):
    candidate = Candidate(kube, namespace.namespace, "first", HURRIED)
    async with candidate.standing():
        await candidate.until(lambda: candidate.at_work)
        await namespace.delete(LEASE)

        async def is_there() -> bool:
            return await namespace.exists(LEASE)

        await eventually(is_there)
        assert (candidate.terms, await holder(namespace)) == (1, "first")


async def test_without_an_api_server_work_stops_and_goes_on_when_it_is_back(control_plane, namespace, tmp_path):
    async with line_to(control_plane.api_port) as line:
        config = kubeconfig_through(tmp_path, namespace.kubeconfig, line.server)
        async with await connect(config) as kube:
            candidate = Candidate(kube, namespace.namespace, "first", HURRIED)
            async with candidate.standing():
                await candidate.until(lambda: candidate.at_work)
                line.cut()
                await candidate.until(lambda: not candidate.at_work)

                async def says_why() -> bool:
                    return "cannot stand for election" in (candidate.election.problem or "")

                await eventually(says_why)
                line.mend()
                await candidate.until(lambda: candidate.at_work)
                assert (candidate.terms, candidate.election.problem) == (2, None)


async def test_one_that_may_not_write_leases_says_so(namespace, tmp_path):
    async with await connect(await kubeconfig_with_token(namespace, "nobody", folder=tmp_path)) as kube:
        candidate = Candidate(kube, namespace.namespace, "first", HURRIED)
        async with candidate.standing():

            async def says_why() -> bool:
                return 'cannot get resource "leases"' in (candidate.election.problem or "")

            await eventually(says_why)
            assert candidate.terms == 0


async def test_what_breaks_at_work_breaks_the_process_and_gives_the_lease_back(kube, namespace):
    async def breaks() -> None:
        raise ZeroDivisionError

    election = Election(kube, namespace=namespace.namespace, name="operator", identity="first", times=PATIENT)
    with pytest.raises(ZeroDivisionError):
        await election.run(breaks)
    assert await holder(namespace) == ""


class Memory:
    """Leases as the API server keeps them: a version for each write, and conflicts."""

    def __init__(self, lease: Manifest | None = None) -> None:
        self.lease = lease
        self.reads = 0

    async def get(self, key: ObjectKey, *, namespace: str) -> Manifest | None:
        self.reads += 1
        return self.lease

    async def create(self, manifest: Mapping[str, Any], *, namespace: str) -> Manifest:
        if self.lease is not None:
            raise ConflictError("Lease", "already exists")
        return self._write(manifest, version=1)

    async def replace(self, manifest: Mapping[str, Any], *, namespace: str) -> Manifest:
        if self.lease is None:
            raise NotFoundError("Lease", "not found")
        version = self.lease["metadata"]["resourceVersion"]
        if manifest["metadata"]["resourceVersion"] != version:
            raise ConflictError("Lease", "changed")
        return self._write(manifest, version=int(version) + 1)

    def _write(self, manifest: Mapping[str, Any], *, version: int) -> Manifest:
        self.lease = {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": str(version)}}
        return self.lease


def held(renewed: str) -> Manifest:
    spec = {"holderIdentity": "other", "leaseDurationSeconds": 15, "renewTime": renewed, "leaseTransitions": 4}
    return {**LEASE, "metadata": {"name": "operator", "resourceVersion": "7"}, "spec": spec}


@pytest.mark.parametrize("renewed", ["1999-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z"])
async def test_a_lease_runs_out_by_the_time_seen_to_pass_and_by_nobodys_clock(renewed):
    now, leases = [1000.0], Memory(held(renewed))
    candidate = Candidate(leases, "prod", "first", Times(15, 10, 0.001), clock=lambda: now[0])

    async def looked_again() -> None:
        reads = leases.reads

        async def more() -> bool:
            return leases.reads > reads + 1

        await eventually(more)

    async with candidate.standing():
        await looked_again()
        now[0] += 14.9
        await looked_again()
        assert candidate.terms == 0
        now[0] += 0.2
        await candidate.until(lambda: candidate.at_work)
        assert leases.lease is not None
        assert leases.lease["spec"]["leaseTransitions"] == 5


async def test_a_holder_that_renews_is_never_overtaken():
    now, leases = [1000.0], Memory(held("2026-01-01T00:00:00.000000Z"))
    candidate = Candidate(leases, "prod", "first", Times(15, 10, 0.001), clock=lambda: now[0])
    async with candidate.standing():
        for _ in range(10):
            reads = leases.reads

            async def more(reads: int = reads) -> bool:
                return leases.reads > reads + 1

            await eventually(more)
            now[0] += 10.0
            assert leases.lease is not None
            await leases.replace(leases.lease, namespace="prod")
        assert candidate.terms == 0


def test_times_that_would_let_two_lead_are_refused():
    with pytest.raises(ValueError, match="expected retry < renew < lease"):
        Times(lease_seconds=10, renew_seconds=10, retry_seconds=2)
    assert Times.of(15) == Times(15, 10, 2)
