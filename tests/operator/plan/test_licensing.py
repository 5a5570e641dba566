"""What is told of the license: of proxies that agree, that differ, and that say nothing."""

from datetime import timedelta
from typing import Any

import pytest

from streamstack_common.license_status import LicenseReport, LicenseState
from streamstack_operator.facts import Plan, Problem
from streamstack_operator.names import Component, Reason
from support.simulated import START, Simulated, spec

FAR = START + timedelta(days=400)
SECRETS = {"secretName": "license", "authority": {"caSecretName": "ca", "clientCertificateSecretName": "client"}}


def said(state: LicenseState, **more: Any) -> LicenseReport:
    known: dict[str, Any] = {"billing": "usage", "customer": "Example Ltd", "license_id": "lic-1", "expires_at": FAR}
    return LicenseReport(state=state, **(known | more))


def running(**license_: object) -> Simulated:
    it = Simulated(spec(license={"secretName": "license"} | license_))
    it.settle()
    return it


def reasons(planned: Plan) -> list[str]:
    return [str(event.reason) for event in planned.events]


def test_a_missing_license_secret_is_told_with_the_command_that_makes_it() -> None:
    it = Simulated()
    it.missing_secrets, it.license = ("license",), None
    planned = it.step()
    assert it.condition("LicenseValid") == it.condition("Ready") == ("False", "LicenseSecretMissing")
    command = "kubectl --namespace calls create secret generic license --from-file=license.jwt=FILE"
    assert command in it.message("LicenseValid")
    assert "LicenseSecretMissing" in reasons(planned)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("license", "create secret generic license --from-file=license.jwt=FILE --from-file=usage=FILE"),
        ("ca", "create secret generic ca --from-file=ca.crt=FILE"),
        ("client", "create secret tls client --cert=FILE --key=FILE"),
    ],
)
def test_every_secret_of_the_license_is_told_when_it_is_missing(name: str, command: str) -> None:
    it = Simulated(spec(license=SECRETS | {"usageApiKeyKey": "usage"}))
    it.missing_secrets = (name,)
    it.step()
    assert it.condition("LicenseValid") == ("False", "LicenseSecretMissing")
    assert it.message("LicenseValid").endswith(command)


def test_a_license_that_nobody_tells_of_is_unknown_and_gateways_that_serve_go_on() -> None:
    it = running()
    it.license = None
    it.step()
    assert it.condition("LicenseValid") == ("Unknown", "LicenseUnknown")
    assert it.condition("Ready") == ("True", "Running")
    assert it.status.license.state == "Unknown"


def test_gateways_that_wait_for_a_proxy_that_cannot_start_are_told_of_the_proxy() -> None:
    it = Simulated()
    it.license = None
    it.step()
    for pod in it.of(Component.LICENSE):
        pod.problem = Problem(Reason.UNSCHEDULABLE, "unbound PersistentVolumeClaims")
    it.step()
    assert it.condition("Ready") == ("False", "Unschedulable")
    assert "unbound" in it.message("Ready")


@pytest.mark.parametrize(
    ("report", "status", "reason", "message"),
    [
        (said(LicenseState.READY), "True", "Ready", "no check-in with its authority was made yet"),
        (
            said(LicenseState.READY, offline=True),
            "True",
            "Offline",
            "by its signature and dates alone, until 2027-12-26",
        ),
        (said(LicenseState.CONNECTED), "True", "Connected", "the license holds, until 2027-12-26T12:00:00Z"),
        (
            said(LicenseState.TRUST_BASED, trust_expiration=START + timedelta(hours=3)),
            "True",
            "TrustBased",
            "trusted until 2026-11-21T15:00:00Z, and no new session is admitted after that",
        ),
        (
            said(LicenseState.FAILED, cause="revoked", reason="the authority revoked it"),
            "False",
            "LicenseFailed",
            "revoked: the authority revoked it; a new license goes under the key license.jwt of Secret license",
        ),
        (said(LicenseState.FAILED), "False", "LicenseFailed", "logs demo-license-proxy-0"),
        (
            said(LicenseState.CONNECTED, expires_at=START + timedelta(days=12, hours=1)),
            "True",
            "ExpiringSoon",
            "the license holds and ends in 12 days, at 2026-12-03T13:00:00Z; a new one goes under the key license.jwt",
        ),
        (said(LicenseState.READY, expires_at=START + timedelta(hours=5)), "True", "ExpiringSoon", "ends within a day"),
        (
            said(LicenseState.TRUST_BASED, expires_at=START + timedelta(days=1)),
            "True",
            "TrustBased",
            "a new one goes under the key license.jwt of Secret license",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_licenses_state_is_the_conditions_reason(
    report: LicenseReport, status: str, reason: str, message: str
) -> None:
    it = running()
    it.license = report
    it.step()
    assert it.condition("LicenseValid") == (status, reason)
    assert message in it.message("LicenseValid")
    assert it.condition("Ready")[0] == status
    assert it.status.license.state == report.state.value


def test_a_license_that_ends_in_a_month_and_a_day_is_nothing_to_do_about() -> None:
    it = running()
    it.license = said(LicenseState.CONNECTED, expires_at=START + timedelta(days=31))
    it.step()
    assert it.condition("LicenseValid") == ("True", "Connected")


def test_what_is_known_of_the_license_is_in_the_status_and_stays_while_no_proxy_answers() -> None:
    it = running()
    it.license = said(LicenseState.CONNECTED, last_successful_checkin=START, trust_expiration=FAR)
    it.step()
    known = it.status.license
    assert (known.customer, known.license_id, known.billing) == ("Example Ltd", "lic-1", "usage")
    assert (known.expires_at, known.last_successful_checkin) == ("2027-12-26T12:00:00Z", "2026-11-21T12:00:00Z")
    assert (known.trust_expiration, known.backlog_records, known.backlog_oldest_seconds) == (
        "2027-12-26T12:00:00Z",
        0,
        0,
    )
    it.license = None
    it.step()
    silent = it.status.license
    assert (silent.state, silent.customer, silent.billing) == ("Unknown", "Example Ltd", "usage")
    assert (silent.last_successful_checkin, silent.trust_expiration, silent.backlog_records) == (None, None, None)


# ------------------------------------------------------------------------------------------- proxies that differ


def test_of_several_proxies_the_best_one_speaks_and_those_that_say_worse_are_named() -> None:
    it = running(replicas=3)
    failed = it.of(Component.LICENSE)[1]
    failed.license = said(LicenseState.FAILED, cause="expired")
    it.step()
    assert it.status.license.state == "Connected"
    assert it.condition("LicenseValid") == ("True", "Connected")
    assert it.message("LicenseValid").endswith("; but demo-license-proxy-1 says Failed (expired)")


def test_gateways_come_to_ready_proxies_alone_so_what_others_say_counts_less() -> None:
    """One that was never told anything by the authority says Ready, and is not ready."""
    it = running(replicas=2)
    it.license = said(LicenseState.FAILED, cause="revoked")
    new = it.of(Component.LICENSE)[1]
    new.ready, new.license = False, said(LicenseState.READY)
    it.step()
    assert it.condition("LicenseValid") == ("False", "LicenseFailed")
    it.of(Component.LICENSE)[0].answers = False
    it.step()
    assert it.condition("LicenseValid") == ("True", "Ready")


def test_of_two_that_say_the_same_the_later_check_in_is_told() -> None:
    it = running(replicas=2)
    for minutes, pod in enumerate(it.of(Component.LICENSE)):
        checkin = START + timedelta(minutes=10 * minutes)
        pod.license = said(LicenseState.CONNECTED, last_successful_checkin=checkin, trust_expiration=checkin)
    it.step()
    assert it.status.license.last_successful_checkin == "2026-11-21T12:10:00Z"


# ------------------------------------------------------------------------------------------------ Events, and writes


def test_each_turn_of_the_license_is_one_event_and_bad_ones_are_warnings() -> None:
    it = running()
    told = []
    for state in (LicenseState.TRUST_BASED, LicenseState.FAILED, LicenseState.CONNECTED):
        it.license = said(state, cause="trust_over" if state is LicenseState.FAILED else None)
        planned = it.step()
        told.append([(str(event.type), str(event.reason)) for event in planned.events if "License" in event.reason])
        assert it.step().events == ()
    assert told == [
        [("Warning", "LicenseTrustBased")],
        [("Warning", "LicenseFailed")],
        [("Normal", "LicenseConnected")],
    ]
    it.license = said(LicenseState.CONNECTED, expires_at=START + timedelta(days=3))
    (event,) = it.step().events
    assert (str(event.type), event.reason) == ("Warning", "LicenseExpiringSoon")


def test_check_ins_that_go_well_write_no_status_but_every_five_minutes() -> None:
    it = running()

    def checked_in(seconds: int) -> None:
        now = START + timedelta(seconds=seconds)
        trust = now + timedelta(days=3)
        it.license = said(LicenseState.CONNECTED, last_successful_checkin=now, trust_expiration=trust)
        it.step()

    checked_in(0)
    before = it.status
    for seconds in range(30, 300, 30):
        checked_in(seconds)
        assert it.status == before
    checked_in(300)
    assert it.status.license.last_successful_checkin == "2026-11-21T12:05:00Z"


def test_a_changed_state_brings_its_times_at_once() -> None:
    it = running()
    it.license = said(LicenseState.CONNECTED, last_successful_checkin=START, trust_expiration=FAR)
    it.step()
    soon = START + timedelta(seconds=20)
    it.license = said(LicenseState.TRUST_BASED, last_successful_checkin=soon, trust_expiration=FAR)
    it.step()
    assert it.status.license.last_successful_checkin == "2026-11-21T12:00:20Z"
