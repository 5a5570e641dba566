"""Paths come from a table, and names cannot leave their place in one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_operator.kube.kinds import DEPLOYMENT, POD, STACK, find


def test_paths_are_those_of_the_api():
    assert POD.path(namespace="a", name="b") == "/api/v1/namespaces/a/pods/b"
    assert DEPLOYMENT.path(namespace="a", name="b", subresource="scale") == (
        "/apis/apps/v1/namespaces/a/deployments/b/scale"
    )
    assert STACK.path(namespace=None) == "/apis/streamstack.dev/v1alpha1/streamingstacks"


def test_a_kind_knows_group_and_version():
    assert (POD.group, POD.version) == ("", "v1")
    assert (DEPLOYMENT.group, DEPLOYMENT.version) == ("apps", "v1")


def test_a_kind_that_is_not_in_the_table_is_refused_by_name():
    with pytest.raises(ValueError, match="Node v1 is not in the table"):
        find("v1", "Node")


@given(name=st.text(min_size=1))
def test_a_name_is_one_segment_of_a_path(name):
    path = POD.path(namespace="a", name=name)
    assert path.startswith("/api/v1/namespaces/a/pods/")
    assert not set(path.removeprefix("/api/v1/namespaces/a/pods/")) & set("/?#")
