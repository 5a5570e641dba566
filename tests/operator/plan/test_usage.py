"""What is told of usage that the authority does not have yet."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamstack_common.license_status import LicenseReport, LicenseState
from streamstack_common.usage import UsageBacklog
from support.owing import EMPTY, fewer, owes, proxies, replicas, running, told
from support.simulated import Simulated, spec


@pytest.mark.parametrize(
    ("backlog", "status", "reason"),
    [
        (EMPTY, "False", "UsageReported"),
        (owes(1000, 600), "False", "UsageReported"),
        (owes(1001, 1), "True", "BacklogLarge"),
        (owes(1, 601), "True", "BacklogOld"),
        (owes(5000, 5000), "True", "BacklogLarge"),
        (None, "Unknown", "UsageUnknown"),
    ],
    ids=str,
)
def test_a_backlog_is_one_above_a_thousand_records_or_ten_minutes(
    backlog: UsageBacklog | None, status: str, reason: str
) -> None:
    it = running()
    proxies(it)[0].backlog = backlog
    it.step()
    assert it.condition("UsageBacklog") == (status, reason)
    assert it.condition("Ready") == ("True", "Running"), "what is owed never stops a call"


def test_a_backlog_is_told_with_numbers_and_what_to_do() -> None:
    it = running(2)
    first, second = proxies(it)
    first.backlog, second.backlog = owes(1200, 900), owes(34, 30)
    it.step()
    assert (it.status.license.backlog_records, it.status.license.backlog_oldest_seconds) == (1234, 900)
    message = it.message("UsageBacklog")
    assert "1234 records, the oldest for 15 minutes; nothing is lost while journals have room" in message
    assert "kubectl --namespace calls logs statefulset/demo-license-proxy" in message
    assert "streamstack usage export" in message


def test_a_proxy_that_cannot_be_asked_is_named_and_a_backlog_that_is_known_is_told_all_the_same() -> None:
    it = running(2)
    first, second = proxies(it)
    second.answers = False
    it.step()
    assert it.condition("UsageBacklog") == ("Unknown", "UsageUnknown")
    assert "demo-license-proxy-1" in it.message("UsageBacklog")
    assert it.status.license.backlog_records is None
    first.backlog = owes(2000)
    it.step()
    assert it.condition("UsageBacklog") == ("True", "BacklogLarge")
    assert "how much is not known, since demo-license-proxy-1 cannot be asked" in it.message("UsageBacklog")


def test_a_proxy_whose_pod_is_not_there_has_a_journal_all_the_same() -> None:
    it = running(2)
    del it.pods["demo-license-proxy-1"]
    it.status = it.planned().status
    assert it.condition("UsageBacklog") == ("Unknown", "UsageUnknown")


def test_flat_billing_owes_nothing_whether_proxies_tell_or_not() -> None:
    it = running(2, billing="flat")
    for pod in proxies(it):
        pod.backlog = None
    it.step()
    assert it.condition("UsageBacklog") == ("False", "NotBilled")


def test_usage_of_one_proxy_is_usage_though_another_has_the_flat_license_already() -> None:
    it = running(2)
    proxies(it)[0].license = LicenseReport(state=LicenseState.CONNECTED, billing="flat")
    proxies(it)[1].backlog = None
    it.step()
    assert it.condition("UsageBacklog") == ("Unknown", "UsageUnknown")


def test_who_takes_an_ephemeral_journal_away_is_told_what_that_means() -> None:
    it = running(2, ephemeral=True)
    proxies(it)[1].backlog = owes(3)
    it.change(license={"secretName": "license", "replicas": 1, "ephemeral": True})
    it.step()
    assert "to go without it, and lose that: kubectl --namespace calls scale" in it.message("Progressing")


def test_usage_of_an_offline_license_waits_for_somebody_who_carries_it() -> None:
    it = running()
    it.license = LicenseReport(state=LicenseState.READY, billing="usage", offline=True)
    proxies(it)[0].backlog = owes(50_000, 1e6)
    planned = it.step()
    assert it.condition("UsageBacklog") == ("False", "CarriedByHand")
    assert "streamstack usage export" in it.message("UsageBacklog")
    assert it.status.license.backlog_records == 50_000
    assert [reason for _, reason in told(planned)] == ["LicenseOffline"]
    proxies(it)[0].answers = False
    it.step()
    assert it.condition("UsageBacklog") == ("Unknown", "UsageUnknown")


def test_a_proxy_of_an_offline_license_stays_until_its_journal_was_carried_away() -> None:
    it = running(2)
    it.license = LicenseReport(state=LicenseState.READY, billing="usage", offline=True)
    proxies(it)[1].backlog = owes(9)
    fewer(it, 1)
    it.step()
    assert replicas(it) == 2
    assert "does not have yet: streamstack usage export carries it there" in it.message("Progressing")


def test_journals_that_end_with_their_pods_are_warned_of_once() -> None:
    it = Simulated(spec(license={"secretName": "license", "ephemeral": True}))
    events = [event for _ in range(4) for event in told(it.step())]
    assert it.condition("UsageBacklog") == ("False", "JournalEphemeral")
    assert "what is not there yet is lost with a proxy's pod or node" in it.message("UsageBacklog")
    assert events.count(("Warning", "JournalEphemeral")) == 1


def test_a_backlog_and_its_end_are_one_event_each() -> None:
    it = running()
    (pod,) = proxies(it)
    events = []
    for backlog in (owes(1, 700), owes(2000, 700), owes(2, 700), EMPTY, EMPTY):
        pod.backlog = backlog
        events += told(it.step())
    assert events == [("Warning", "BacklogOld"), ("Normal", "UsageReported")]


def test_batches_that_come_and_go_write_nothing() -> None:
    it = running()
    (pod,) = proxies(it)
    pod.backlog = owes(7)
    it.step()
    before = it.status
    for records in (1, 100, 30, 99):
        pod.backlog = owes(records, 59)
        it.step()
        assert it.status == before
    pod.backlog = EMPTY
    it.step()
    assert it.status.license.backlog_records == 0


@given(st.none() | st.integers(0, 5000), st.none() | st.integers(0, 5000))
@settings(max_examples=40, deadline=None)
def test_the_number_that_is_written_is_on_the_same_side_of_the_limit_as_the_true_one(
    before: int | None, now: int | None
) -> None:
    it = running()
    for records in (before, now):
        proxies(it)[0].backlog = None if records is None else owes(records)
        it.step()
    written = it.status.license.backlog_records
    assert (written is None, written == 0) == (now is None, now == 0)
    if written is not None and now is not None:
        assert (written > 1000) == (now > 1000)
        assert max(written, now) <= 100 or abs(written - now) <= 0.1 * max(written, now)
