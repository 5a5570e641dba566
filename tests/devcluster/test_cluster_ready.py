from typing import Any

import pytest

from devcluster.cluster_ready import not_fresh

STARTED = {"x-worker": "2026-11-21T09:24:05.123456789Z"}


def pod(name: str, *, ready: bool = True, started: str = "2026-11-21T09:24:09Z", node: str = "x-worker") -> Any:
    state = {"running": {"startedAt": started}} if started else {"waiting": {"reason": "CrashLoopBackOff"}}
    return {
        "metadata": {"name": name},
        "spec": {"nodeName": node},
        "status": {"containerStatuses": [{"ready": ready, "state": state}]},
    }


def test_pods_that_started_after_their_node_and_are_ready_are_fresh() -> None:
    assert not_fresh([pod("a"), pod("b", started="2026-11-21T09:24:05Z")], started=STARTED) == []


@pytest.mark.parametrize(
    "stale",
    [
        pod("a", started="2026-11-21T09:24:04Z"),
        pod("a", ready=False),
        pod("a", started=""),
        {"metadata": {"name": "a"}, "spec": {}, "status": {}},
    ],
)
def test_a_pod_of_before_or_one_that_is_not_ready_is_waited_for(stale: Any) -> None:
    assert not_fresh([stale], started=STARTED) == ["a"]


def test_a_nodes_own_static_pods_are_not_waited_for() -> None:
    static = pod("etcd", ready=False)
    static["metadata"]["ownerReferences"] = [{"kind": "Node", "name": "x-worker"}]
    assert not_fresh([static], started=STARTED) == []


def test_a_pod_that_is_being_deleted_is_nobodys_concern() -> None:
    going = pod("a", ready=False)
    going["metadata"]["deletionTimestamp"] = "2026-11-21T09:25:00Z"
    assert not_fresh([going], started=STARTED) == []
