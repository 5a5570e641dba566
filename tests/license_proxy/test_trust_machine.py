"""Any order of check-ins, clock jumps, restarts, boots, moves to other machines, other licenses and passing time."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streamstack_common.license import License
from streamstack_common.license_status import LicenseState
from streamstack_license_proxy.checkin_memory import decoded, encoded
from streamstack_license_proxy.state import Standing, standing
from streamstack_license_proxy.trust import Memory, Moment
from support.signer import claims

START: Final = 1_800_000_000
HOLDS: Final = 40.0
DAY: Final = 86_400


def license_(number: int, window: int, *, lifetime: int = 3650 * DAY, offline: bool = False) -> License:
    facts = claims(jti=f"license-{number}", nbf=START - DAY, exp=START + lifetime, offline=offline)
    return License.model_validate(facts | {"trust_window_seconds": window})


LICENSES: Final = (
    license_(1, 1000),
    license_(1, 300),  # renewed, with a shorter window
    license_(2, 1000),
    license_(3, 10),  # less than the pause between two check-ins
    license_(4, 1000, lifetime=2000),
    license_(5, 1000, offline=True),
)
CAUSES: Final = {"revoked", "trust_expired", "never_confirmed", "expired", "not_yet_valid"}
SECONDS: Final = st.one_of(st.integers(0, 60), st.integers(0, 2000), st.integers(0, 30 * DAY))


@dataclass
class Known:
    """What really happened to one license, by a clock that nobody can set."""

    boot: int
    since: int
    good: bool = False
    failed: bool = False
    revoked: bool = False
    running: int = 0
    """Seconds in which a proxy ran and saw the license at their end."""
    unseen: int = 0
    """Seconds in which one runs, since that."""


class World(RuleBasedStateMachine):
    """``true`` is the time, ``jump`` is what the wall clock is off by; the authority's clock is right."""

    def __init__(self) -> None:
        super().__init__()
        self.true = START
        self.boot = 1
        self.boottime = 5000
        self.jump = 0
        self.ever_jumped = False
        self.memory = Memory("this-installation")
        self.license = LICENSES[0]
        self.known: dict[str, Known] = {}

    def now(self) -> Moment:
        wall = datetime.fromtimestamp(self.true, UTC) + timedelta(seconds=self.jump)
        return Moment(wall, f"boot-{self.boot}", float(self.boottime))

    def judged(self) -> Standing:
        trust = self.memory.of(self.license.license_id)
        return standing(self.license, trust, self.now(), answer_holds_seconds=HOLDS)

    def told(self) -> tuple[object, ...]:
        """A standing that can be compared."""
        judged = self.judged()
        return judged.state, str(judged.failure), judged.last_good, judged.trusted_until

    def look(self) -> Known:
        """What a proxy does when it starts or finds another license."""
        id_ = self.license.license_id
        self.memory = self.memory.seen(id_, self.now())
        known = self.known.setdefault(id_, Known(self.boot, self.true))
        return self.note(known)

    def note(self, known: Known) -> Known:
        known.running, known.unseen = known.running + known.unseen, 0
        return known

    @initialize(license_=st.sampled_from(LICENSES))
    def first(self, license_: License) -> None:
        self.license = license_
        self.look()

    @rule(seconds=SECONDS)
    def pass_time(self, seconds: int) -> None:
        self.true += seconds
        self.boottime += seconds
        self.known[self.license.license_id].unseen += seconds

    @rule(by=st.integers(-400 * DAY, 400 * DAY))
    def jump_the_wall_clock(self, by: int) -> None:
        known, before = self.known[self.license.license_id], self.told()
        self.jump, self.ever_jumped = by, True
        if known.good and known.boot == self.boot:
            assert self.told() == before

    @rule()
    def restart(self) -> None:
        before = self.told()
        self.memory = decoded(encoded(self.memory))
        assert self.told() == before
        self.look()
        assert self.told() == before

    @rule(off=SECONDS, uptime=st.integers(0, 400 * DAY))
    def boot_or_move(self, off: int, uptime: int) -> None:
        """Another boot or another machine, which may have been up for long."""
        self.memory = decoded(encoded(self.memory))
        self.true += off
        self.boot, self.boottime = self.boot + 1, uptime
        for known in self.known.values():
            known.unseen = 0
        self.look()

    @rule(license_=st.sampled_from(LICENSES))
    def replace_the_license(self, license_: License) -> None:
        if license_.license_id != self.license.license_id:
            # While another one is in force nobody counts this one's time.
            self.known[self.license.license_id].unseen = 0
        self.license = license_
        self.look()

    @precondition(lambda self: not self.license.offline)
    @rule()
    def good(self) -> None:
        id_ = self.license.license_id
        self.memory = self.memory.good(id_, self.now(), authority_time=datetime.fromtimestamp(self.true, UTC))
        self.known[id_] = Known(self.boot, self.true, good=True)

    @precondition(lambda self: not self.license.offline)
    @rule()
    def failed(self) -> None:
        self.memory = self.memory.failed(self.license.license_id, self.now())
        self.note(self.known[self.license.license_id]).failed = True

    @precondition(lambda self: not self.license.offline)
    @rule()
    def revoke(self) -> None:
        self.memory = self.memory.revoked(self.license.license_id, self.now())
        known = self.note(self.known[self.license.license_id])
        known.failed = known.revoked = True

    @invariant()
    def trust_never_outlives_its_window_by_a_clock_that_runs(self) -> None:
        known, window = self.known[self.license.license_id], self.license.trust_window_seconds
        if self.license.offline:
            return
        if known.running + known.unseen >= max(window, HOLDS if known.good and not known.failed else 0):
            assert self.judged().state is LicenseState.FAILED

    @invariant()
    def on_one_boot_or_with_a_right_wall_clock_the_state_is_exactly_what_is_due(self) -> None:
        known = self.known[self.license.license_id]
        if self.ever_jumped and not (known.good and known.boot == self.boot):
            return
        assert (self.judged().state, self.cause()) == self.due(known)

    @invariant()
    def failed_has_one_of_its_causes_and_no_other_state_has_any(self) -> None:
        judged, known = self.judged(), self.known[self.license.license_id]
        assert (judged.state is LicenseState.FAILED) is (judged.failure is not None)
        assert self.cause() in CAUSES | {None}
        assert (self.cause() == "revoked") is (known.revoked and not self.license.offline)
        assert (judged.last_good is not None) is (known.good and not self.license.offline)
        if judged.state in {LicenseState.CONNECTED, LicenseState.TRUST_BASED}:
            assert known.good
            assert (judged.state is LicenseState.TRUST_BASED) is known.failed

    @invariant()
    def offline_needs_nothing_but_its_dates(self) -> None:
        if self.license.offline:
            valid = self.license.valid_from <= self.now().wall < self.license.expires_at
            assert self.judged().state is (LicenseState.READY if valid else LicenseState.FAILED)
            assert self.judged().last_good is None

    def cause(self) -> str | None:
        failure = self.judged().failure
        return None if failure is None else failure.cause

    def due(self, known: Known) -> tuple[LicenseState, str | None]:
        """The rules again, with the true time in place of every clock."""
        elapsed, window = self.true - known.since, self.license.trust_window_seconds
        state, cause = LicenseState.READY, None
        if self.license.offline:
            pass
        elif known.revoked:
            cause = "revoked"
        elif not known.good:
            cause = "never_confirmed" if elapsed >= window else None
        elif not known.failed and elapsed < max(window, HOLDS):
            state = LicenseState.CONNECTED
        elif elapsed < window:
            state = LicenseState.TRUST_BASED
        else:
            cause = "trust_expired"
        if cause is None and self.true >= self.license.exp:
            cause = "expired"
        return (LicenseState.FAILED if cause is not None else state), cause


World.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestWorld = World.TestCase
