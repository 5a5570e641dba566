"""The alerts, asked of Prometheus' own promtool: when each fires, what it says, and when not."""

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from streamstack_asr.engines.nemotron.metrics import fleet_metrics
from streamstack_asr.server.metrics import PREFIX
from support.authority_process import authority_process
from support.gateway_process import gateway_process
from support.helm import OPERATOR, Helm, of_kind, one
from support.license_process import proxy_of

RULES = OPERATOR / "rules" / "streamstack.yaml"
ALERTS: Mapping[str, Mapping[str, Any]] = {
    rule["alert"]: rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]
}
SERIES = re.compile(r"\bstreamstack_\w+")
POD = "pod-0"
IN_THE_CLUSTER = {"namespace": "calls", "pod": POD}
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Case:
    """Series a minute apart, in promtool's notation, from the epoch on; ``summary`` of the alert that fires, or none.

    Series have the labels of a pod beside their own, unless ``scraped`` says otherwise.
    """

    alert: str
    series: Mapping[str, str]
    at: str
    summary: str | None = None
    own: Mapping[str, str] = field(default_factory=dict)
    scraped: Mapping[str, str] = field(default_factory=lambda: IN_THE_CLUSTER)


STATE = 'streamstack_license_state{state="%s"}'
TRUST_BASED, FAILED = {"state": "TrustBased"}, {"state": "Failed"}
EXPIRY = "streamstack_license_expiry_timestamp_seconds"
TRUST = "streamstack_license_trust_expiration_timestamp_seconds"
RESTARTS = 'kube_pod_container_status_restarts_total{container="license-proxy"}'
ADMITS = "streamstack_gateway_license_admits"
RECORDS, OLDEST = "streamstack_usage_backlog_records", "streamstack_usage_backlog_oldest_seconds"
UNSENT = "streamstack_gateway_usage_oldest_unsent_seconds"
OVERLOADED, WORKERS = "streamstack_asr_workers_overloaded", "streamstack_asr_workers"
DIED = "streamstack_asr_worker_restarts_total"
LEFT, ROOM = "kubelet_volume_stats_available_bytes", "kubelet_volume_stats_capacity_bytes"
CLAIM = {"namespace": "calls", "persistentvolumeclaim": "journal-demo-license-proxy-1"}
OTHER_CLAIM = {"namespace": "calls", "persistentvolumeclaim": "models"}

CASES = {
    "trust-based for five minutes": Case(
        "StreamstackLicenseTrustBased",
        {STATE % "TrustBased": "1x10"},
        "5m",
        "pod-0 does not reach the license authority",
        own=TRUST_BASED,
    ),
    "trust-based for a moment": Case("StreamstackLicenseTrustBased", {STATE % "TrustBased": "0 1 1 1 1 0x5"}, "6m"),
    "connected": Case(
        "StreamstackLicenseTrustBased", {STATE % "Connected": "1x10", STATE % "TrustBased": "0x10"}, "10m"
    ),
    "a trust that ends in less than six hours": Case(
        "StreamstackLicenseTrustEnds",
        {STATE % "TrustBased": "1x10", TRUST: f"{5 * 3600 + 120}x10"},
        "2m",
        "pod-0 admits no session any more in 5h 0m 0s",
    ),
    "a trust that ends tomorrow": Case(
        "StreamstackLicenseTrustEnds", {STATE % "TrustBased": "1x10", TRUST: f"{DAY}x10"}, "10m"
    ),
    "a trust that every check-in renews": Case(
        "StreamstackLicenseTrustEnds", {STATE % "TrustBased": "0x10", TRUST: "3600x10"}, "10m"
    ),
    "failed": Case(
        "StreamstackLicenseFailed",
        {STATE % "Failed": "1x5"},
        "1m",
        "pod-0 says that the license does not hold",
        own=FAILED,
    ),
    "failed, outside of a cluster": Case(
        "StreamstackLicenseFailed",
        {STATE % "Failed": "1x5"},
        "1m",
        "license-proxy:8082 says that the license does not hold",
        own=FAILED,
        scraped={"instance": "license-proxy:8082"},
    ),
    "failed until a minute ago": Case("StreamstackLicenseFailed", {STATE % "Failed": "1 0x5"}, "3m"),
    "a license of less than a fortnight": Case(
        "StreamstackLicenseExpires",
        {EXPIRY: f"{13 * DAY + 600}x20"},
        "10m",
        "the license of pod-0 ends in 13d 0h 0m 0s",
    ),
    "a license of more than a fortnight": Case("StreamstackLicenseExpires", {EXPIRY: f"{15 * DAY}x20"}, "20m"),
    "no authentic license": Case("StreamstackLicenseExpires", {EXPIRY: "NaN " * 20}, "20m"),
    "a license that has ended": Case("StreamstackLicenseExpires", {EXPIRY: "300x20"}, "20m"),
    "a proxy that crashes": Case(
        "StreamstackLicenseProxyRestarts",
        {RESTARTS: "0x30 1x10 2x10 3x10"},
        "60m",
        "calls/pod-0 was restarted 3 times in an hour",
        own={"container": "license-proxy"},
    ),
    "a proxy that crashed once": Case("StreamstackLicenseProxyRestarts", {RESTARTS: "4x30 5x30"}, "60m"),
    "another container that crashes": Case(
        "StreamstackLicenseProxyRestarts",
        {RESTARTS.replace("license-proxy", "asr"): "0x30 1x10 2x10 3x10"},
        "60m",
    ),
    "a gateway that admits nobody": Case(
        "StreamstackGatewayRefusesForLicense", {ADMITS: "0x5"}, "2m", "pod-0 admits no session because of the license"
    ),
    "a gateway that starts": Case("StreamstackGatewayRefusesForLicense", {ADMITS: "0 0 1x5"}, "3m"),
    "a thousand and one records": Case(
        "StreamstackUsageBacklogLarge", {RECORDS: "1001x10"}, "5m", "pod-0 has 1001 records that the authority lacks"
    ),
    "a thousand records": Case("StreamstackUsageBacklogLarge", {RECORDS: "1000x10"}, "10m"),
    "many records for a moment": Case("StreamstackUsageBacklogLarge", {RECORDS: "5000 5000 5000 0x10"}, "6m"),
    "many records of an offline license": Case(
        "StreamstackUsageBacklogLarge", {RECORDS: "5000x10", STATE % "Ready": "1x10"}, "10m"
    ),
    "old records of an offline license": Case(
        "StreamstackUsageBacklogOld", {OLDEST: "5000x10", STATE % "Ready": "1x10"}, "10m"
    ),
    "many records without the authority": Case(
        "StreamstackUsageBacklogLarge",
        {RECORDS: "2000x10", STATE % "Ready": "0x10", STATE % "TrustBased": "1x10"},
        "5m",
        "pod-0 has 2000 records that the authority lacks",
    ),
    "usage of an hour ago": Case(
        "StreamstackUsageBacklogOld", {OLDEST: "3600x10"}, "5m", "usage in the journal of pod-0 waits for 1h 0m 0s"
    ),
    "usage of ten minutes ago": Case("StreamstackUsageBacklogOld", {OLDEST: "600x10"}, "10m"),
    "a full disk": Case(
        "StreamstackUsageDiskFull",
        {"streamstack_usage_disk_full": "1x5"},
        "1m",
        "the usage journal of pod-0 finds no space",
    ),
    "a disk with room": Case("StreamstackUsageDiskFull", {"streamstack_usage_disk_full": "0x5"}, "5m"),
    "a volume that is nearly full": Case(
        "StreamstackUsageVolumeFills",
        {LEFT: "50x20", ROOM: "1000x20"},
        "15m",
        "calls/journal-demo-license-proxy-1 has 5% left",
        scraped=CLAIM,
    ),
    "a volume that is half full": Case(
        "StreamstackUsageVolumeFills", {LEFT: "500x20", ROOM: "1000x20"}, "20m", scraped=CLAIM
    ),
    "somebody else's volume that is nearly full": Case(
        "StreamstackUsageVolumeFills", {LEFT: "50x20", ROOM: "1000x20"}, "20m", scraped=OTHER_CLAIM
    ),
    "a damaged journal, from the first moment on": Case(
        "StreamstackUsageJournalDamaged",
        {"streamstack_usage_journal_damaged_total": "1x5"},
        "0m",
        "pod-0 set a usage journal aside, damaged or put back from a copy",
    ),
    "a sound journal": Case("StreamstackUsageJournalDamaged", {"streamstack_usage_journal_damaged_total": "0x5"}, "5m"),
    "reports that no proxy takes": Case(
        "StreamstackGatewayUsageUnsent", {UNSENT: "420x5"}, "1m", "usage in pod-0 waits for a license proxy: 7m 0s"
    ),
    "words that come late": Case(
        "StreamstackAsrOverloaded",
        {OVERLOADED: "0 1x10"},
        "4m",
        "speech recognition in pod-0 does not keep up with its sessions",
    ),
    "a stutter": Case("StreamstackAsrOverloaded", {OVERLOADED: "0 1 1 0x5"}, "5m"),
    "workers that die": Case(
        "StreamstackAsrWorkersDie",
        {DIED: "0x30 1x10 2x10 3x10"},
        "60m",
        "pod-0 started 3 workers in an hour for ones that died",
    ),
    "a worker that died once": Case("StreamstackAsrWorkersDie", {DIED: "4x30 5x30"}, "60m"),
    "no worker": Case("StreamstackAsrNoWorker", {WORKERS: "0x10"}, "5m", "pod-0 has no worker that recognises speech"),
    "a worker that starts": Case("StreamstackAsrNoWorker", {WORKERS: "0 0 1x10"}, "7m"),
    "a server that crashes": Case(
        "StreamstackAsrRestarts",
        {RESTARTS.replace("license-proxy", "asr"): "0x30 1x10 2x10 3x10"},
        "60m",
        "calls/pod-0 was restarted 3 times in an hour",
        own={"container": "asr"},
    ),
    "a server's neighbour that crashes": Case("StreamstackAsrRestarts", {RESTARTS: "0x30 1x10 2x10 3x10"}, "60m"),
    "reports that wait for the next try": Case("StreamstackGatewayUsageUnsent", {UNSENT: "300x5"}, "5m"),
}


def promtool(*args: str | Path) -> str:
    """Run promtool; what it says. AssertionError when it finds something."""
    program = shutil.which("promtool")
    assert program is not None, "promtool is not there: hack/packages prometheus"
    done = subprocess.run([program, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def a_test(case: Case) -> dict[str, Any]:
    """The case as promtool reads it."""
    rule = ALERTS[case.alert]
    expected = []
    if case.summary is not None:
        annotations = {"summary": case.summary, "description": rule["annotations"]["description"]}
        expected = [{"exp_labels": {**case.scraped, **case.own, **rule["labels"]}, "exp_annotations": annotations}]
    return {
        "interval": "1m",
        "input_series": [{"series": _labelled(name, case.scraped), "values": it} for name, it in case.series.items()],
        "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": expected}],
    }


def _labelled(series: str, labels: Mapping[str, str]) -> str:
    name, _, own = series.removesuffix("}").partition("{")
    listed = [own, *(f'{key}="{value}"' for key, value in labels.items())]
    return f"{name}{{{','.join(filter(None, listed))}}}"


def test_the_rules_are_rules() -> None:
    assert f"SUCCESS: {len(ALERTS)} rules found" in promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_when_it_is_to_and_says_what_is_wrong(name: str, tmp_path: Path) -> None:
    wanted = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [a_test(CASES[name])]}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(wanted))
    promtool("test", "rules", tmp_path / "test.yaml")


def test_every_alert_is_seen_to_fire_and_to_keep_silent() -> None:
    assert {case.alert for case in CASES.values() if case.summary is not None} == ALERTS.keys()
    assert {case.alert for case in CASES.values() if case.summary is None} == ALERTS.keys()


def engines_own() -> str:
    """What a server on GPUs says of its workers, as it is scraped."""

    class Engine(Collector):
        def collect(self) -> Iterable[Metric]:
            return fleet_metrics(PREFIX, sessions=0, slots=1, serving=1, overloaded=0, restarts=0)

    registry = CollectorRegistry()
    registry.register(Engine())
    return generate_latest(registry).decode()


async def test_the_services_export_every_series_that_the_rules_ask_for(tmp_path: Path) -> None:
    async with authority_process(tmp_path) as authority:
        issued = await authority.issue()
        async with (
            proxy_of(tmp_path, authority, issued) as proxy,
            gateway_process(tmp_path, asr_pools="english/en-default=127.0.0.1:1", license_proxy=proxy) as gateway,
        ):
            await gateway.announced()
            texts = [(await proxy.get("/metrics"))[1], (await gateway.internal("/metrics"))[1]]
    exported = {name for text in (*texts, engines_own()) for name in SERIES.findall(text)}
    asked = {name for rule in ALERTS.values() for name in SERIES.findall(str(rule["expr"]))}
    assert len(asked) > 8
    assert asked - exported == set()


def test_every_alert_says_how_grave_it_is_and_what_to_do() -> None:
    for rule in ALERTS.values():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"].keys() == {"summary", "description"}


def test_the_chart_makes_the_same_rules_an_object_where_it_is_asked_to(helm: Helm) -> None:
    assert not of_kind(helm.manifests(OPERATOR), "PrometheusRule")
    wanted = {"metrics": {"prometheusRule": {"enabled": True, "labels": {"release": "monitoring"}}}}
    made = one(helm.manifests(OPERATOR, values=wanted), "PrometheusRule")
    assert made["spec"] == yaml.safe_load(RULES.read_text("utf-8"))
    assert made["metadata"]["labels"]["release"] == "monitoring"
