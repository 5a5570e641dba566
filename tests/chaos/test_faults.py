"""What a run suffers is decided by its seed alone."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from support.chaos import CAST
from support.faults import Fault, everything, plan
from support.relay import Trouble

SECONDS = 120.0


def planned(seed: int, *, disks: bool = True) -> tuple[object, ...]:
    return plan(everything(CAST, disks=disks), random.Random(seed), seconds=SECONDS)  # noqa: S311


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_a_seed_always_means_the_same_faults_in_the_order_of_time(seed: int) -> None:
    faults = plan(everything(CAST, disks=True), random.Random(seed), seconds=SECONDS)  # noqa: S311
    assert faults == planned(seed)
    assert [fault.at_seconds for fault in faults] == sorted(fault.at_seconds for fault in faults)


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_two_minutes_have_every_kind_of_fault(seed: int) -> None:
    faults = plan(everything(CAST, disks=True), random.Random(seed), seconds=SECONDS)  # noqa: S311
    assert {fault.what for fault in faults} == {*Fault, *Trouble}
    for victims in (CAST.gateways, CAST.proxies, (CAST.authority,), CAST.recognizers):
        killed = [fault for fault in faults if fault.target in victims and fault.what is Fault.KILLED]
        assert killed, victims


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_faults_of_one_target_never_overlap_and_all_are_over_in_time(seed: int) -> None:
    free_at: dict[str, float] = {}
    for fault in plan(everything(CAST, disks=True), random.Random(seed), seconds=SECONDS):  # noqa: S311
        assert free_at.get(fault.target, 0.0) <= fault.at_seconds
        free_at[fault.target] = fault.at_seconds + fault.hold_seconds
        assert free_at[fault.target] <= SECONDS + 1e-6


def test_without_the_privilege_no_disk_is_full() -> None:
    assert not {fault.what for fault in plan(everything(CAST, disks=False), random.Random(1), seconds=SECONDS)} & {  # noqa: S311
        Fault.DISK_FULL,
        Fault.KILLED_DISK_FULL,
    }
