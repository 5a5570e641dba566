"""The cache follows a real API server: through outages, without a CRD, beside broken APIs, and writes nothing to it."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import kopf
import pytest
from kubernetes.aio.dynamic.exceptions import NotFoundError, ResourceNotFoundError

from streamstack_operator import watching as module
from streamstack_operator import wiring
from streamstack_operator.cache import Cache
from streamstack_operator.crd import crd
from streamstack_operator.crd_watch import CrdWatch
from streamstack_operator.facts import ObjectKey, StackKey
from streamstack_operator.kube import Kube, connect
from streamstack_operator.names import API_VERSION, KIND, LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGED_BY
from streamstack_operator.watching import Watching
from support.cut import line_to
from support.kubeconfig import kubeconfig_through, kubeconfig_with_token
from support.namespaces import Namespace, own_namespace
from support.waiting import Waiting, eventually

Object = dict[str, Any]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds in a cluster takes tenths of it here; every path is the same."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(module, "AFTER_START_SECONDS", 0.5)


class Follower(Waiting):
    """A cache that follows, and what it woke."""

    def __init__(self, kube: Kube, *namespaces: str, relist_seconds: float = 600.0) -> None:
        super().__init__()
        self.cache = Cache()
        self.woken: list[StackKey] = []
        self.crd = CrdWatch(kube, lambda _schema: (), soon_seconds=0.1)
        self.watching = Watching(
            kube=kube,
            cache=self.cache,
            crd=self.crd,
            wake=self.wake,
            watch=self.watch,
            namespaces=namespaces,
            relist_seconds=relist_seconds,
        )
        self.registry = wiring.make_registry(seen=self.watching.seen, gone=self.watching.gone, access=kube.access)
        self.watches: list[tuple[str, ...]] = []

    def wake(self, key: StackKey) -> None:
        self.woken.append(key)
        self.notify()

    async def watch(self, namespaces: tuple[str, ...]) -> None:
        self.watches.append(namespaces)
        await wiring.watch(self.registry, namespaces=namespaces, stop=lambda: None)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.crd.run()), asyncio.create_task(self.watching.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def names(self, namespace: str) -> list[str]:
        return [key.name for key in self.cache.stacks() if key.namespace == namespace]

    def children(self, key: StackKey) -> set[ObjectKey]:
        stack = self.cache.stack(key)
        return set() if stack is None else set(self.cache.children(stack["metadata"]["uid"]))


@asynccontextmanager
async def follower(kubeconfig: Path, *namespaces: str, **more: Any) -> AsyncIterator[Follower]:
    async with await connect(kubeconfig) as kube:
        it = Follower(kube, *namespaces, **more)
        async with it.following():
            yield it


def a_stack(name: str) -> Object:
    spec = {"license": {"secretName": "license"}, "pools": [{"name": "english", "engine": "Sphinx"}]}
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}


def a_child(name: str, of: Object) -> Object:
    about = of["metadata"]
    labels = {LABEL_MANAGED_BY: MANAGED_BY, LABEL_INSTANCE: about["name"]}
    reference = {"apiVersion": API_VERSION, "kind": KIND, "name": about["name"], "uid": about["uid"]}
    metadata = {"name": name, "labels": labels, "ownerReferences": [{**reference, "controller": True}]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


CHILD = ObjectKey("v1", "ConfigMap", "settings")


async def test_what_is_there_already_is_seen_at_once_and_what_comes_later_as_well(namespace, stack_crd):
    first = await namespace.create(a_stack("first"))
    await namespace.create(a_child("settings", first))
    key = StackKey(namespace.namespace, "first")
    async with follower(namespace.kubeconfig, namespace.namespace) as it:
        await it.watching.listed.wait()
        assert it.children(key) == {CHILD}
        assert set(it.woken) == {key}
        await namespace.create(a_stack("second"))
        await it.until(lambda: it.names(namespace.namespace) == ["first", "second"])
        await namespace.delete(a_child("settings", first))
        await it.until(lambda: not it.children(key))
        await namespace.delete(first)
        await it.until(lambda: it.names(namespace.namespace) == ["second"])


async def test_nothing_is_written_to_a_stack(namespace, stack_crd):
    made = await namespace.create(a_stack("demo"))
    async with follower(namespace.kubeconfig, namespace.namespace) as it:
        await it.watching.listed.wait()
        changed = await namespace.patch(made, {"metadata": {"labels": {"a": "b"}}})
        await it.until(
            lambda: (
                it.cache.stack(StackKey(namespace.namespace, "demo"))["metadata"]["resourceVersion"]
                == changed["metadata"]["resourceVersion"]
            )
        )
        now = (await namespace.get(made))["metadata"]
        assert now["resourceVersion"] == changed["metadata"]["resourceVersion"]
        assert "annotations" not in now
        assert "finalizers" not in now


async def test_others_objects_are_not_sent_here_and_a_child_without_our_label_counts_as_gone(namespace, stack_crd):
    made = await namespace.create(a_stack("demo"))
    child = await namespace.create(a_child("settings", made))
    await namespace.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "somebody-elses"}})
    key = StackKey(namespace.namespace, "demo")
    async with follower(namespace.kubeconfig, namespace.namespace) as it:
        await it.watching.listed.wait()
        assert len(it.cache._objects) == 2
        await namespace.patch(child, {"metadata": {"labels": {LABEL_MANAGED_BY: None}}})
        await it.until(lambda: not it.children(key))
        await namespace.patch(child, {"metadata": {"labels": {LABEL_MANAGED_BY: MANAGED_BY}}})
        await it.until(lambda: it.children(key) == {CHILD})


async def test_an_api_server_that_was_away_is_caught_up_with_also_on_what_was_deleted(
    control_plane, namespace, tmp_path, stack_crd
):
    made = await namespace.create(a_stack("demo"))
    child = await namespace.create(a_child("settings", made))
    doomed = await namespace.create(a_stack("doomed"))
    async with line_to(control_plane.api_port) as line:
        config = kubeconfig_through(tmp_path, namespace.kubeconfig, line.server)
        async with follower(config, namespace.namespace) as it:
            await it.watching.listed.wait()
            line.cut()
            await namespace.delete(child)
            await namespace.delete(doomed)
            await namespace.create(a_stack("new"))
            it.watching.relist_soon()

            async def notices() -> bool:
                return it.watching.problem is not None and line.refused > 0

            await eventually(notices)
            assert it.names(namespace.namespace) == ["demo", "doomed"]
            line.mend()
            await it.until(lambda: it.names(namespace.namespace) == ["demo", "new"])
            await it.until(lambda: not it.children(StackKey(namespace.namespace, "demo")))
            await namespace.create(a_stack("later"))
            await it.until(lambda: "later" in it.names(namespace.namespace))
            assert it.watching.problem is None


async def test_an_api_server_that_is_away_at_the_start_is_waited_for(control_plane, namespace, tmp_path, stack_crd):
    await namespace.create(a_stack("demo"))
    async with line_to(control_plane.api_port) as line:
        line.cut()
        async with follower(kubeconfig_through(tmp_path, namespace.kubeconfig, line.server), namespace.namespace) as it:

            async def was_asked() -> bool:
                return line.refused > 2

            await eventually(was_asked)
            assert not it.watching.listed.is_set()
            line.mend()
            await it.until(lambda: it.names(namespace.namespace) == ["demo"])


@pytest.mark.parametrize("turns", [0, 1, 2, 5, 8, 13, 24, 29, 31, 39, 50, 500])
async def test_nothing_of_kopf_is_left_however_early_it_is_ended(namespace, stack_crd, turns):
    others = asyncio.all_tasks()
    async with await connect(namespace.kubeconfig) as kube:
        registry = wiring.make_registry(seen=lambda _: None, gone=lambda _: None, access=kube.access)
        watching = asyncio.create_task(wiring.watch(registry, namespaces=(namespace.namespace,), stop=lambda: None))
        for _ in range(turns):
            await asyncio.sleep(0)
        watching.cancel()
        await asyncio.wait({watching})
    assert asyncio.all_tasks() == others
    gc.collect()  # a connection that nobody closed complains here and now, not in whatever test comes next


ROLE = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "watcher"}}


async def kubeconfig_of(namespace: Namespace, folder: Path, *, verbs: list[str]) -> Path:
    """Return a kubeconfig of somebody who may do only this, and only in this namespace."""
    await grant(namespace, verbs=verbs, to=namespace)
    return await kubeconfig_with_token(namespace, "watcher", folder=folder)


async def grant(there: Namespace, *, verbs: list[str], to: Namespace) -> None:
    """Let the watcher of namespace ``to`` do this in namespace ``there``."""
    rule = {"apiGroups": ["*"], "resources": ["*"], "verbs": verbs}
    subject = {"kind": "ServiceAccount", "name": "watcher", "namespace": to.namespace}
    granted = {"kind": "Role", "name": "watcher", "apiGroup": "rbac.authorization.k8s.io"}
    await there.apply({**ROLE, "rules": [rule]}, manager="test", force=True)
    binding = {**ROLE, "kind": "RoleBinding", "subjects": [subject], "roleRef": granted}
    await there.apply(binding, manager="test", force=True)


async def test_a_namespace_that_may_not_be_watched_does_not_hold_up_the_others(namespace, tmp_path, stack_crd):
    await namespace.create(a_stack("here"))
    async with own_namespace(namespace.kubeconfig, folder=tmp_path) as other:
        config = await kubeconfig_of(namespace, tmp_path, verbs=["list", "watch"])
        await grant(other, verbs=["get"], to=namespace)
        await other.create(a_stack("there"))
        async with follower(config, namespace.namespace, other.namespace, relist_seconds=0.5) as it:

            async def says_which() -> bool:
                return f"namespace {other.namespace} cannot be watched" in (it.watching.problem or "")

            await eventually(says_which)
            await it.until(lambda: it.names(namespace.namespace) == ["here"])
            assert it.names(other.namespace) == []
            await grant(other, verbs=["list", "watch"], to=namespace)
            await it.until(lambda: it.names(other.namespace) == ["there"])

            async def watches_both() -> bool:
                return it.watches[-1] == (namespace.namespace, other.namespace) and it.watching.problem is None

            await eventually(watches_both)


async def test_watches_that_may_not_be_are_told_and_do_not_run_hot(namespace, tmp_path, stack_crd, monkeypatch):
    make_settings = wiring.make_settings

    def impatient() -> kopf.OperatorSettings:
        settings = make_settings()
        settings.networking.error_backoffs = (0.1,)
        return settings

    monkeypatch.setattr(wiring, "make_settings", impatient)
    monkeypatch.setattr(module, "RETRY_SECONDS", 600.0)
    await namespace.create(a_stack("here"))
    config = await kubeconfig_of(namespace, tmp_path, verbs=["list"])
    async with follower(config, namespace.namespace) as it:
        await it.until(lambda: it.names(namespace.namespace) == ["here"])

        async def says_why() -> bool:
            return "the watches ended" in (it.watching.problem or "") and "cannot watch" in it.watching.problem

        await eventually(says_why)
        assert it.watching.restarts == 1


async def apply_cluster_wide(api: Namespace, manifest: Object) -> Object:
    return await api.apply(manifest, manager="test", force=True)


BROKEN_API = {
    "apiVersion": "apiregistration.k8s.io/v1",
    "kind": "APIService",
    "metadata": {"name": "v1.broken.example.com"},
    "spec": {
        "group": "broken.example.com",
        "version": "v1",
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "insecureSkipTLSVerify": True,
        "service": {"name": "nobody", "namespace": "default", "port": 443},
    },
}


@pytest.mark.control_plane
async def test_it_waits_for_its_crd_and_outlives_its_removal_and_any_broken_api(
    own_control_plane, tmp_path, monkeypatch
):
    """Cluster-wide, beside an aggregated API that nobody serves, before there is a CRD and after it was removed."""
    monkeypatch.setattr(module, "AFTER_START_SECONDS", 600.0)  # so that watches alone tell
    async with own_namespace(own_control_plane.kubeconfig, folder=tmp_path) as namespace:
        await apply_cluster_wide(namespace, BROKEN_API)
        async with follower(own_control_plane.kubeconfig) as it:

            async def says_what_is_missing() -> bool:
                return "there is no CRD streamingstacks.streamstack.dev" in (it.crd.problem or "")

            await eventually(says_what_is_missing)
            assert not it.watching.listed.is_set()
            await serve_crd(namespace)
            await it.watching.listed.wait()
            await create_stack(namespace, "demo")
            await it.until(lambda: it.names(namespace.namespace) == ["demo"])
            await namespace.delete({**crd(), "metadata": {"name": crd()["metadata"]["name"]}})
            await it.until(lambda: it.names(namespace.namespace) == [])
            await eventually(says_what_is_missing)
            await serve_crd(namespace)
            await create_stack(namespace, "again")
            await it.until(lambda: it.names(namespace.namespace) == ["again"])
            assert it.watching.restarts >= 1


async def serve_crd(namespace: Namespace) -> None:
    async def applied() -> bool:
        made = await apply_cluster_wide(namespace, crd())
        return "deletionTimestamp" not in made["metadata"]

    await eventually(applied)


async def create_stack(namespace: Namespace, name: str) -> None:
    """Make a stack as soon as the API server knows the kind."""

    async def made() -> bool:
        try:
            await namespace.kube.resources.discover()
            await namespace.create(a_stack(name))
        except (ResourceNotFoundError, NotFoundError):
            return False
        return True

    await eventually(made)
