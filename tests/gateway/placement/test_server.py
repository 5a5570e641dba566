"""How many slots are free, whatever crosses on the way; no socket in here."""

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from streamstack_common.contracts import asr_pb2
from streamstack_gateway.link.attempt import LinkAttempt
from streamstack_gateway.link.channel import Endpoint
from streamstack_gateway.link.losses import Loss
from streamstack_gateway.placement.server import Server

MODEL = "en-default"


class FakeAttempt:
    pass


class FakeLink:
    def open(self, *_args: object) -> Any:
        return FakeAttempt()

    def lose(self, _loss: Loss) -> None:
        pass


class Connects:
    def __init__(self) -> None:
        self.opened = 0
        self.released = 0

    def open(self, *_args: object) -> Any:
        self.opened += 1
        return FakeLink()

    def release(self, _link: object) -> None:
        self.released += 1


class Events:
    def __init__(self) -> None:
        self.changes = 0
        self.losses: list[Loss] = []

    def server_changed(self, _server: Server) -> None:
        self.changes += 1

    def server_lost(self, _server: Server, loss: Loss) -> None:
        self.losses.append(loss)


def make() -> tuple[Server, Connects, Events]:
    connects, events = Connects(), Events()
    server = Server(Endpoint("10.0.0.1:1", "10.0.0.1"), model=MODEL, connects=connects, events=events)
    server.start()
    return server, connects, events


def status(free: int, *, accepting: bool = True, models: tuple[str, ...] = (MODEL,)) -> asr_pb2.ServerStatus:
    return asr_pb2.ServerStatus(slots=10, free_slots=free, accepting=accepting, models=models)


def open_one(server: Server) -> LinkAttempt:
    return server.open(asr_pb2.Open(), None, None)  # type: ignore[arg-type]


def hear(server: Server, word: asr_pb2.ServerStatus) -> None:
    server.link_status(server.link, word)  # type: ignore[arg-type]


async def test_nothing_is_free_before_the_server_spoke() -> None:
    server, _, _ = make()
    assert (server.free, server.is_up, server.is_known) == (0, False, False)


async def test_an_open_counts_until_a_report_after_its_answer() -> None:
    server, _, _ = make()
    hear(server, status(3))
    attempt = open_one(server)
    assert server.free == 2
    hear(server, status(3))  # written before the open arrived
    assert server.free == 2
    server.answered(attempt, took_slot=True)
    assert server.free == 2
    hear(server, status(2))
    assert server.free == 2


async def test_a_refusal_means_full_until_the_next_report() -> None:
    server, _, _ = make()
    hear(server, status(3))
    attempt = open_one(server)
    server.answered(attempt, took_slot=False)
    server.refused()
    assert server.free == 0
    hear(server, status(1))
    assert server.free == 1


@pytest.mark.parametrize(
    ("word", "known"), [(status(5, accepting=False), True), (status(5, models=("ml-default",)), False)]
)
async def test_a_server_that_takes_no_session_of_this_pool_has_nothing_free(
    word: asr_pb2.ServerStatus, known: bool
) -> None:
    server, _, _ = make()
    hear(server, word)
    assert (server.free, server.is_known, server.is_up) == (0, known, True)


async def test_a_lost_link_takes_everything_known_with_it_and_comes_back_unless_unwanted() -> None:
    server, connects, events = make()
    hear(server, status(3))
    attempt = open_one(server)
    server.link_lost(server.link, Loss.FROZEN, "")  # type: ignore[arg-type]
    server.answered(attempt, took_slot=False)
    assert (server.free, server.opening, server.is_up, server.is_known) == (0, 0, False, False)
    assert events.losses == [Loss.FROZEN]
    assert connects.released == 1
    with pytest.raises(RuntimeError, match="no link"):
        open_one(server)
    server.stop()


class CrossingReports(RuleBasedStateMachine):
    """The wire is two queues, and every word crosses others on it; other sessions leave the server at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.server = Server(Endpoint("a:1", "a"), model=MODEL, connects=Connects(), events=Events())
        self.server.start()
        # Already up: nothing here waits or schedules, so no event loop is needed.
        self.server._up_since = 0.0
        self.slots = self.taken = 0
        self.up: list[LinkAttempt] = []
        self.down: list[tuple[LinkAttempt, bool] | int] = []

    @initialize(slots=st.integers(0, 6))
    def begin(self, slots: int) -> None:
        self.slots = slots
        self.report()

    @precondition(lambda self: self.server.free > 0)
    @rule()
    def open(self) -> None:
        self.up.append(open_one(self.server))

    @precondition(lambda self: self.up)
    @rule()
    def serve(self) -> None:
        takes = self.taken < self.slots
        self.taken += takes
        self.down.append((self.up.pop(0), takes))

    @rule()
    def report(self) -> None:
        self.down.append(self.slots - self.taken)

    @precondition(lambda self: self.down)
    @rule()
    def hear(self) -> None:
        word = self.down.pop(0)
        if isinstance(word, int):
            hear(self.server, status(word))
            return
        attempt, takes = word
        self.server.answered(attempt, took_slot=takes)
        if not takes:
            self.server.refused()

    @precondition(lambda self: self.taken)
    @rule()
    def leave(self) -> None:
        self.taken -= 1

    @invariant()
    def never_counts_a_slot_that_is_not_there(self) -> None:
        assert self.server.free == 0 or self.server.free + len(self.up) <= self.slots - self.taken

    def teardown(self) -> None:
        while self.up:
            self.serve()
        self.report()
        while self.down:
            self.hear()
        assert self.server.free == self.slots - self.taken


TestCrossingReports = CrossingReports.TestCase
