"""The cache: what is newer wins, whatever it comes by and in whatever order."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_operator.cache import REMEMBERED, Cache, is_told_already, owner
from streamstack_operator.facts import ObjectKey, StackKey
from streamstack_operator.names import API_VERSION, KIND, LABEL_INSTANCE, LABEL_MANAGED_BY, MANAGED_BY


def manifest(
    kind: str,
    name: str,
    *,
    version: int,
    uid: str = "",
    namespace: str = "prod",
    api_version: str = "v1",
    **metadata: Any,
) -> dict[str, Any]:
    about = {"namespace": namespace, "name": name, "uid": uid or f"{kind}-{name}", "resourceVersion": str(version)}
    return {"apiVersion": api_version, "kind": kind, "metadata": {**about, **metadata}}


def stack(name: str = "demo", *, version: int = 1, namespace: str = "prod") -> dict[str, Any]:
    return manifest(KIND, name, version=version, api_version=API_VERSION, namespace=namespace)


def child(name: str, *, version: int = 1, of: str = "demo", uid: str = "") -> dict[str, Any]:
    reference = {"apiVersion": API_VERSION, "kind": KIND, "name": of, "uid": f"{KIND}-{of}", "controller": True}
    return manifest("Service", name, version=version, uid=uid, ownerReferences=[reference])


def pod(name: str, *, version: int = 1, of: str = "demo") -> dict[str, Any]:
    replica_set = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "r", "controller": True}
    labels = {LABEL_INSTANCE: of, LABEL_MANAGED_BY: MANAGED_BY}
    return manifest("Pod", name, version=version, labels=labels, ownerReferences=[replica_set])


KEY = StackKey("prod", "demo")
SERVICE = ObjectKey("v1", "Service", "a")


def test_stacks_children_and_pods_are_found_where_they_belong():
    cache = Cache()
    for it in (stack(), stack("other"), child("a"), child("b", of="other"), pod("p"), pod("q", of="other")):
        assert cache.upsert(it)
    assert cache.stacks() == [KEY, StackKey("prod", "other")]
    assert cache.stack(KEY) == stack()
    assert cache.stack(StackKey("elsewhere", "demo")) is None
    assert cache.children(f"{KIND}-demo") == {SERVICE: child("a")}
    assert cache.pods("prod", "demo") == [pod("p")]
    assert cache.pods("prod", "nobody") == []
    assert cache.children("nobody") == {}


def test_managed_fields_are_not_kept():
    cache = Cache()
    cache.upsert({**stack(), "metadata": {**stack()["metadata"], "managedFields": [{"manager": "kubectl"}]}})
    assert cache.stack(KEY) == stack()


def test_what_is_older_or_the_same_is_no_news():
    cache = Cache()
    assert cache.upsert(child("a", version=10))
    assert not cache.upsert(child("a", version=9))
    assert not cache.upsert(child("a", version=10))
    assert cache.upsert(child("a", version=11))
    assert cache.children(f"{KIND}-demo")[SERVICE]["metadata"]["resourceVersion"] == "11"


def test_what_is_removed_does_not_come_back_by_an_answer_from_before():
    cache = Cache()
    cache.upsert(child("a", version=10))
    assert cache.remove(child("a", version=12))
    assert not cache.upsert(child("a", version=11))
    assert cache.children(f"{KIND}-demo") == {}


def test_an_object_whose_label_was_taken_away_comes_back_with_it():
    """A watch by labels says DELETED of an object that lost them; the uid stays the same."""
    cache = Cache()
    cache.upsert(child("a", version=10))
    cache.remove(child("a", version=12))
    assert cache.upsert(child("a", version=13))
    assert SERVICE in cache.children(f"{KIND}-demo")


def test_the_end_of_an_object_does_not_take_its_successor_of_the_same_name():
    cache = Cache()
    cache.upsert(child("a", version=20, uid="second"))
    assert not cache.remove(child("a", version=15, uid="first"))
    assert cache.children(f"{KIND}-demo")[SERVICE]["metadata"]["uid"] == "second"


def test_a_successor_takes_the_place_of_what_it_replaces():
    cache = Cache()
    cache.upsert(child("a", version=10, of="demo"))
    cache.upsert(child("a", version=11, of="other", uid="second"))
    assert cache.children(f"{KIND}-demo") == {}
    assert SERVICE in cache.children(f"{KIND}-other")


def test_a_list_tells_whom_it_is_news_for_and_drops_what_it_lacks():
    cache = Cache()
    cache.upsert(child("a", version=10))
    cache.upsert(child("b", version=11, of="other"))
    news = cache.replace("v1", "Service", [child("b", version=11, of="other")], namespace=None, at="15")
    assert news == {KEY}
    assert cache.children(f"{KIND}-demo") == {}
    assert len(cache.children(f"{KIND}-other")) == 1


def test_a_list_does_not_drop_what_was_made_after_it():
    cache = Cache()
    cache.upsert(child("a", version=16))
    assert cache.replace("v1", "Service", [], namespace=None, at="15") == frozenset()
    assert SERVICE in cache.children(f"{KIND}-demo")


def test_a_list_of_one_namespace_or_kind_leaves_the_others_alone():
    cache = Cache()
    for it in (stack(), stack(namespace="test"), child("a")):
        cache.upsert(it)
    cache.replace(API_VERSION, KIND, [], namespace="test", at="99")
    assert cache.stacks() == [KEY]
    cache.replace("v1", "ConfigMap", [], namespace=None, at="99")
    assert SERVICE in cache.children(f"{KIND}-demo")


def test_removals_are_forgotten_at_last():
    cache = Cache()
    for number in range(REMEMBERED + 1):
        cache.remove(child(f"a{number}", version=5))
    assert cache.upsert(child("a0", version=1))
    assert not cache.upsert(child(f"a{REMEMBERED}", version=1))


@pytest.mark.parametrize(
    ("whose", "expected"),
    [
        (stack(), KEY),
        (child("a"), KEY),
        (pod("p"), KEY),
        (manifest("Service", "a", version=1), None),
        (manifest("Service", "a", version=1, labels={LABEL_INSTANCE: "demo"}), None),
    ],
    ids=["a stack itself", "by controller", "by labels", "nobody's", "somebody else's"],
)
def test_the_owner_of(whose, expected):
    assert owner(whose) == expected


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[bool, int]]:
    """What happened to one object, oldest first: whether it was there after each write, at growing versions."""
    steps = draw(st.lists(st.booleans(), min_size=1, max_size=8))
    return [(there, 10 + number) for number, there in enumerate(steps)]


@given(history=histories(), data=st.data())
def test_in_whatever_order_news_come_the_newest_holds(history, data):
    cache = Cache()
    for there, version in data.draw(st.permutations(history)):
        it = child("a", version=version)
        cache.upsert(it) if there else cache.remove(it)
    there, version = history[-1]
    found: Mapping[ObjectKey, Any] = cache.children(f"{KIND}-demo")
    expected = {SERVICE: str(version)} if there else {}
    assert {key: it["metadata"]["resourceVersion"] for key, it in found.items()} == expected


@given(history=histories(), data=st.data())
def test_the_indexes_hold_exactly_what_is_there(history, data):
    cache = Cache()
    for there, version in data.draw(st.permutations(history)):
        it = pod("p", version=version)
        cache.upsert(it) if there else cache.remove(it)
    assert len(cache.pods("prod", "demo")) == len(cache._objects) == len(cache._children) == history[-1][0]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, True),
        ({"resourceVersion": "2"}, True),
        ({"generation": 2}, False),
        ({"annotations": {"streamstack.dev/reconcile": "disabled"}}, False),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, False),
        ({"finalizers": ["a"]}, False),
        ({"uid": "another"}, False),
    ],
)
def test_a_new_status_of_a_stack_is_no_news_and_everything_else_is(change, told):
    before = stack() | {"status": {"summary": "a"}}
    now = {**before, "metadata": {**before["metadata"], **change}, "status": {"summary": "b"}}
    assert is_told_already(before, now) is told
    assert not is_told_already(None, now)


def test_a_childs_status_is_news():
    assert not is_told_already(stack(), child("a"))
