from datetime import UTC, datetime

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streamstack_operator.facts import CredentialFacts, CredentialStage, CredentialStep, PodFacts, Problem
from streamstack_operator.names import Component, Reason
from streamstack_operator.plan.credential import PROPAGATION_SECONDS, step
from support.simulated import Simulated

NOW = datetime(2026, 11, 21, tzinfo=UTC)
MONTH_SECONDS = 2_592_000.0
SLOWEST_SECONDS = 151.0
"""A kubelet's sync period with all its jitter, its cache, and the service's second."""


def pod(uid: str, component: Component = Component.GATEWAY, ip: str | None = "10.0.0.1") -> PodFacts:
    return PodFacts(uid, uid, component, None, "r", ip, ready=True, terminating=False, traffic=True)


def facts(stage: CredentialStage, age_seconds: float = 0.0, **more: object) -> CredentialFacts:
    return CredentialFacts(stage, NOW.timestamp() - age_seconds, **more)  # type: ignore[arg-type]


def decided(known: CredentialFacts | None, *pods: PodFacts, requested: str | None = None) -> CredentialStep | None:
    return step(known, pods, requested=requested, rotate_after_seconds=MONTH_SECONDS, now=NOW)


def test_where_there_is_none_one_is_made() -> None:
    assert decided(None) is CredentialStep.MAKE


@pytest.mark.parametrize(
    ("age_seconds", "requested", "wanted"),
    [
        (MONTH_SECONDS - 1, None, None),
        (MONTH_SECONDS, None, CredentialStep.ANNOUNCE),
        (1, "again", CredentialStep.ANNOUNCE),
        (1, "obeyed", None),
    ],
)
def test_a_new_one_is_announced_when_the_old_is_due_or_somebody_asks(
    age_seconds: float, requested: str | None, wanted: CredentialStep | None
) -> None:
    known = facts(CredentialStage.SETTLED, age_seconds, requested="obeyed")
    assert decided(known, requested=requested) is wanted


def test_unknown_is_busy_the_switch_waits_for_every_pod_that_has_an_address() -> None:
    known = facts(CredentialStage.ANNOUNCING, 10**6, accepted_by=frozenset({"a", "b"}))
    everybody = [pod("a"), pod("b", Component.LICENSE)]
    assert decided(known, *everybody) is CredentialStep.SWITCH
    assert decided(known, *everybody, pod("c", Component.ASR)) is None
    assert decided(known, *everybody, pod("d", Component.ASR, ip=None)) is CredentialStep.SWITCH
    assert decided(known, *everybody, pod("e", Component.BALANCER)) is CredentialStep.SWITCH


def test_the_old_one_goes_when_every_kubelet_had_time_to_hand_out_the_new_order() -> None:
    assert decided(facts(CredentialStage.SWITCHING, PROPAGATION_SECONDS - 1)) is None
    assert decided(facts(CredentialStage.SWITCHING, PROPAGATION_SECONDS)) is CredentialStep.SETTLE


@pytest.mark.parametrize("reason", [Reason.NAME_CLASH, Reason.FORBIDDEN])
def test_none_is_made_over_a_secret_that_may_be_somebody_elses(reason: Reason) -> None:
    it = Simulated()
    it.failures = (Problem(reason, "Secret demo-credential is not this stack's"),)
    assert it.planned().credential is None


class Rotation(RuleBasedStateMachine):
    """Pods read the Secret's file late, each in its own time; rotations are asked for at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.known: CredentialFacts | None = None
        self.tokens: tuple[int, ...] = ()
        self.history: list[tuple[float, tuple[int, ...]]] = []
        self.files: dict[str, int] = {}
        """Which entry of the history a pod has."""
        self.requests = 0

    @initialize(pods=st.integers(1, 4))
    def start(self, pods: int) -> None:
        self.look()
        for number in range(pods):
            self.files[str(number)] = len(self.history) - 1

    @rule()
    def look(self) -> None:
        """A pass of the operator."""
        accepting = frozenset(uid for uid in self.files if self.tokens[-1] in self._file(uid))
        known = None
        if self.known is not None:
            known = CredentialFacts(self.known.stage, self.known.since_seconds, self.known.requested, accepting)
        asked = str(self.requests)
        at = datetime.fromtimestamp(self.now, UTC)
        pods = [pod(uid) for uid in self.files]
        taken = step(known, pods, requested=asked, rotate_after_seconds=MONTH_SECONDS, now=at)
        if taken is None:
            return
        newest = max(self.tokens, default=0)
        self.tokens, stage = {
            CredentialStep.MAKE: ((1,), CredentialStage.SETTLED),
            CredentialStep.ANNOUNCE: ((*self.tokens, newest + 1), CredentialStage.ANNOUNCING),
            CredentialStep.SWITCH: (self.tokens[::-1], CredentialStage.SWITCHING),
            CredentialStep.SETTLE: (self.tokens[:1], CredentialStage.SETTLED),
        }[taken]
        self.known = CredentialFacts(stage, self.now, asked)
        self.history.append((self.now, self.tokens))

    @rule()
    def ask(self) -> None:
        self.requests += 1

    @rule(seconds=st.sampled_from([1.0, 60.0, 150.0, PROPAGATION_SECONDS]))
    def time_passes(self, seconds: float) -> None:
        """No kubelet takes longer than it may to hand out what has changed."""
        self.now += seconds
        due = [number for number, (since, _) in enumerate(self.history) if self.now - since >= SLOWEST_SECONDS]
        for uid, has in self.files.items():
            self.files[uid] = max(has, *due, 0)

    @rule(data=st.data())
    def a_kubelet_is_early(self, data: st.DataObject) -> None:
        uid = data.draw(st.sampled_from(sorted(self.files)))
        self.files[uid] = len(self.history) - 1

    @rule(number=st.integers(5, 9))
    def a_pod_starts(self, number: int) -> None:
        self.files.setdefault(str(number), len(self.history) - 1)

    @invariant()
    def everybody_can_talk_to_everybody(self) -> None:
        for caller in self.files:
            for callee in self.files:
                sends, accepts = self._file(caller), self._file(callee)
                assert sends[0] in accepts, f"{caller} has {sends}, {callee} has {accepts}"

    def _file(self, uid: str) -> tuple[int, ...]:
        return self.history[self.files[uid]][1]


TestRotation = Rotation.TestCase
TestRotation.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
