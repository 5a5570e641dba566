import pytest
from websockets.exceptions import InvalidMessage

from streamstack_gateway.session.ports import Allowance
from support.edge import SELF_HOSTED, edge, ended, reached, receive


async def test_sockets_beyond_the_limit_are_closed_and_those_within_go_on() -> None:
    async with edge(max_connections=1) as it, it.client() as client:
        await receive(client)
        with pytest.raises((ConnectionError, InvalidMessage)):
            await it.client()
        await client.send('{"type": "Terminate"}')
        assert (await receive(client))["type"] == "Termination"


async def test_a_full_gateway_refuses_with_3009() -> None:
    async with edge(max_sessions=1) as it, it.client() as first:
        await receive(first)
        async with it.client() as second:
            assert (await receive(second))["error_code"] == 3009
            assert (await ended(second))[0] == 3009
        assert it.sessions.refusals == {"too_many_sessions": 1}


async def test_a_full_pool_refuses_with_3009_at_once_and_is_counted() -> None:
    async with edge() as it:
        it.pools.free = 0
        async with it.client() as client:
            assert (await receive(client))["error_code"] == 3009
        assert it.pools.refused == 1


async def test_a_license_that_admits_nobody_is_told_and_live_sessions_go_on() -> None:
    async with edge() as it, it.client() as live:
        await receive(live)
        it.refusal = "the license has expired"
        async with it.client() as client:
            error = await receive(client)
            assert error["error_code"] == 1008
            assert "the license has expired" in error["error"]
        await live.send('{"type": "Terminate"}')
        assert (await receive(live))["type"] == "Termination"


async def test_the_licenses_share_is_a_limit_of_its_own_and_live_sessions_go_on_when_it_shrinks() -> None:
    async with edge(max_sessions=9) as it, it.client() as first, it.client() as second:
        await receive(first)
        await receive(second)
        it.allowance = Allowance(sessions=1)
        async with it.client() as third:
            error = await receive(third)
            assert error["error_code"] == 3009
            assert "the license leaves this gateway 1" in error["error"]
        assert it.sessions.refusals == {"license_full": 1}
        for client in (first, second):
            await client.send('{"type": "Terminate"}')
            assert (await receive(client))["type"] == "Termination"
        await it.none_live()
        async with it.client() as fourth:
            assert (await receive(fourth))["type"] == "Begin"


async def test_a_model_that_the_license_does_not_name_is_refused_by_name() -> None:
    async with edge() as it, it.client() as live:
        await receive(live)
        it.allowance = Allowance(models=("multilingual", "u3-pro"))
        async with it.client() as client:
            error = await receive(client)
            assert error["error_code"] == 1008
            assert "the license does not include the model 'universal-streaming-english'" in error["error"]
        assert it.sessions.refusals == {"model_not_licensed": 1}
        await live.send('{"type": "Terminate"}')
        assert (await receive(live))["type"] == "Termination"


async def test_usage_that_nobody_takes_closes_admission_and_shows_and_live_sessions_go_on() -> None:
    async with edge() as it, it.client() as live:
        await receive(live)
        it.meter.full = True
        assert it.sessions.report().admission.value == "license-blocked"
        async with it.client() as client:
            assert (await receive(client))["error_code"] == 1013
        assert it.sessions.refusals == {"usage_undelivered": 1}
        await live.send('{"type": "Terminate"}')
        assert (await receive(live))["type"] == "Termination"


async def test_every_session_that_begins_is_metered_to_its_end_and_no_refused_one_is() -> None:
    async with edge(max_sessions=1) as it:
        async with it.client() as client:
            session_id = (await receive(client))["id"]
            async with it.client() as refused:
                await receive(refused)
            await client.send(bytes(3200))
            await client.send('{"type": "Terminate"}')
            assert (await receive(client))["type"] != "Error"
            await client.close()
        await it.none_live()
        assert it.meter.begun == [session_id]
        assert [(name, audio_ms) for name, _, audio_ms in it.meter.ended] == [(session_id, 100)]


async def test_a_retired_gateway_serves_what_it_has_and_takes_nothing_new() -> None:
    async with edge() as it, it.client() as live:
        await receive(live)
        it.sessions.retirement.retire(1)
        async with it.client() as client:
            assert (await receive(client))["error_code"] == 1013
        it.sessions.retirement.resume(2)
        async with it.client() as client:
            assert (await receive(client))["type"] == "Begin"
        await live.send('{"type": "Terminate"}')
        assert (await receive(live))["type"] == "Termination"


async def test_admission_closes_when_the_buffers_fill_and_the_longest_backlog_ends_when_they_are_full() -> None:
    async with edge() as it, it.client() as small, it.client() as large:
        await receive(small)
        await receive(large)
        it.budget.limit = 100_000
        await small.send(bytes(1600))
        for _ in range(3):
            await large.send(bytes(24_000))
        await reached(lambda: it.budget.used >= 73_600)
        async with it.client() as client:
            assert (await receive(client))["error_code"] == 1013
        await large.send(bytes(32_000))
        assert (await receive(large))["error_code"] == 1013
        await small.send('{"type": "KeepAlive"}')
        assert len(it.sessions) == 1


async def test_the_report_counts_sessions_from_the_upgrade_on() -> None:
    async with edge() as it:
        assert it.sessions.report().sessions == 0
        async with it.client(additional_headers=SELF_HOSTED) as client:
            await receive(client)
            report = it.sessions.report()
            assert (report.sessions, report.admission.value, report.revision) == (1, "open", "r1")
            assert report.oldest_started_at is not None
            assert report.pools["english"].waiting == 1


async def test_a_gateway_that_falls_behind_its_own_clock_admits_nobody_until_it_has_caught_up() -> None:
    async with edge() as it:
        for _ in range(20):
            it.sessions.tick(0.0, late_seconds=0.5)
        async with it.client() as client:
            assert (await receive(client))["error_code"] == 1013
        for _ in range(20):
            it.sessions.tick(0.0, late_seconds=0.0)
        async with it.client() as client:
            assert (await receive(client))["type"] == "Begin"
