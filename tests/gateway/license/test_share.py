from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from streamstack_gateway.license.share import LicenseShare, share
from streamstack_gateway.license.view import Terms

LIMITS = st.integers(1, 10_000)
GATEWAYS = st.integers(1, 200)


@settings(deadline=None)
@given(LIMITS, GATEWAYS)
def test_gateways_that_count_each_other_go_above_the_limit_by_less_than_their_number(limit: int, gateways: int) -> None:
    each = share(limit, gateways)
    assert each is not None
    assert limit <= gateways * each <= limit + gateways - 1


@settings(deadline=None)
@given(LIMITS, st.lists(GATEWAYS, min_size=1, max_size=20), st.data())
def test_while_gateways_come_and_go_the_sum_of_what_each_was_once_allowed_is_the_bound(
    limit: int, counted: list[int], data: st.DataObject
) -> None:
    """Each gateway fills up to its share whenever it counts anew, and nobody ends a session."""
    sessions = dict.fromkeys(range(len(counted)), 0)
    fewest = dict(enumerate(counted))
    for _ in range(30):
        gateway = data.draw(st.sampled_from(sorted(sessions)))
        count = data.draw(GATEWAYS)
        fewest[gateway] = min(fewest[gateway], count)
        allowed = share(limit, count)
        assert allowed is not None
        sessions[gateway] = max(sessions[gateway], allowed)
    assert sum(sessions.values()) <= sum(-(-limit // count) for count in fewest.values())


@settings(deadline=None)
@given(LIMITS, GATEWAYS, st.integers(0, 200))
def test_growth_stays_within_what_is_promised(limit: int, before: int, more: int) -> None:
    after = before + more
    old, new = share(limit, before), share(limit, before)
    assert old is not None
    assert new is not None
    assert before * old + more * new < limit * after / before + after


def test_without_a_limit_there_is_no_share() -> None:
    assert share(None, 3) is None


def test_the_allowance_follows_the_license_and_the_number_of_gateways() -> None:
    terms, gateways, registry = Terms(), 1, CollectorRegistry()
    it = LicenseShare(lambda: terms, lambda: gateways, registry)

    def metric(name: str) -> float | None:
        return registry.get_sample_value(f"streamstack_gateway_license_{name}")

    assert it.allowance().sessions is None
    assert metric("session_limit") == inf
    terms = Terms("usage", 10, ("english",))
    assert (it.allowance().sessions, it.allowance().models) == (10, ("english",))
    gateways = 3
    assert it.allowance().sessions == 4
    assert (metric("session_limit"), metric("gateways")) == (4, 3)
