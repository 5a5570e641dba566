"""A cluster in memory that carries out plans: what the API server, its controllers, kubelets and clients would do.

Sessions are the truth that the planner must not harm: every pod knows when each of its sessions began, whether the
operator can ask it or not. ``cut`` collects sessions of pods that the planner ended, ``stranded`` the license proxies
that it took away though their journals held usage, or might have.
"""

import copy
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from streamstack_common.license_status import LicenseReport, LicenseState
from streamstack_common.retirement import Admission
from streamstack_common.sessions_report import PoolSessions, SessionsReport
from streamstack_common.usage import UsageBacklog
from streamstack_operator.checks import parse_status
from streamstack_operator.facts import (
    CredentialFacts,
    CredentialStage,
    CredentialStep,
    Manifest,
    ObjectKey,
    Observed,
    Plan,
    PodFacts,
    Problem,
    ProxyFacts,
    Release,
    Stack,
)
from streamstack_operator.model.spec import StreamingStackSpec
from streamstack_operator.model.status import ComponentStatus, PoolStatus, Revision, StreamingStackStatus
from streamstack_operator.names import ANNOTATION_ROTATE, FINALIZER, Component
from streamstack_operator.plan.planner import plan
from support.stack_specs import RELEASE, stack

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
STALE_SECONDS = 5.0
COMPONENT, POOL, REVISION = "app.kubernetes.io/component", "streamstack.dev/pool", "streamstack.dev/revision"


def spec(**changes: Any) -> StreamingStackSpec:
    """A small spec; ``changes`` are fields by their names in YAML."""
    wanted = {"license": {"secretName": "license"}, "pools": [{"name": "english", "engine": "Sphinx"}]}
    return StreamingStackSpec.model_validate(wanted | changes)


@dataclass
class SimPod:
    """A pod. ``answers`` False is one that the operator cannot ask."""

    uid: str
    component: Component
    pool: str | None
    revision: str | None
    owner: ObjectKey
    ready: bool = False
    answers: bool = True
    running: bool = True
    terminating: bool = False
    problem: Problem | None = None
    sessions: list[datetime] = field(default_factory=list)
    pools: dict[str, PoolSessions] = field(default_factory=dict)
    backlog: UsageBacklog | None = field(default_factory=UsageBacklog)
    license: LicenseReport | None = None
    """What this license proxy says, where it is not what all say."""

    def facts(self) -> PodFacts:
        return PodFacts(
            name=self.uid,
            uid=self.uid,
            component=self.component,
            pool=self.pool,
            revision=self.revision,
            ip="10.0.0.1",
            ready=self.ready and not self.terminating,
            terminating=self.terminating,
            traffic=True,
            problem=self.problem,
            running=self.running,
        )

    def report(self) -> SessionsReport:
        return SessionsReport(
            instance_id=self.uid,
            revision=self.revision or "",
            admission=Admission.OPEN,
            generation=0,
            sessions=len(self.sessions),
            oldest_started_at=min(self.sessions, default=None),
            capacity=32,
            max_sessions=128,
            pools=self.pools,
        )


class Simulated:
    """One stack in its cluster."""

    def __init__(self, wanted: StreamingStackSpec | None = None, *, release: Release = RELEASE) -> None:
        self.spec = wanted or spec()
        self.release = release
        self.generation = 1
        self.annotations: dict[str, str] = {}
        self.finalizers: tuple[str, ...] = ()
        self.deleting = False
        self.status = StreamingStackStatus()
        self.objects: dict[ObjectKey, Manifest] = {}
        self.pods: dict[str, SimPod] = {}
        self.credential: CredentialFacts | None = None
        self.license: LicenseReport | None = LicenseReport(state=LicenseState.CONNECTED, billing="usage")
        """What license proxies say; None: none answers."""
        self.missing_secrets: tuple[str, ...] = ()
        self.failures: tuple[Problem, ...] = ()
        self.now = START
        self.cut: list[str] = []
        self.stranded: list[str] = []
        self.flips = 0
        self._former: list[tuple[datetime, Manifest]] = []
        self._numbers = itertools.count(1)

    # ------------------------------------------------------------------------------------------- what a person does

    def change(self, **changes: Any) -> None:
        """Change the spec; fields by their names in YAML."""
        before = self.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        self.spec = StreamingStackSpec.model_validate(before | changes)
        self.generation += 1

    # ------------------------------------------------------------------------------------------- what the operator does

    @property
    def stack(self) -> Stack:
        return stack(
            self.spec,
            generation=self.generation,
            status=self.status,
            annotations=self.annotations,
            finalizers=self.finalizers,
            deleting=self.deleting,
        )

    @property
    def observed(self) -> Observed:
        told = {Component.GATEWAY, Component.ASR}
        return Observed(
            objects=copy.deepcopy(self.objects),
            pods=tuple(pod.facts() for pod in self.pods.values()),
            reports={
                uid: pod.report()
                for uid, pod in self.pods.items()
                if pod.component in told and pod.answers and pod.running
            },
            proxies={} if self.license is None else dict(self._proxies(self.license)),
            credential=self.credential,
            missing_secrets=self.missing_secrets,
            failures=self.failures,
        )

    def _proxies(self, said: LicenseReport) -> Iterator[tuple[str, ProxyFacts]]:
        for pod in self.of(Component.LICENSE):
            if pod.answers and pod.running:
                yield pod.uid, ProxyFacts(license=pod.license or said, backlog=pod.backlog)

    def planned(self) -> Plan:
        """Return the plan for now; nothing is carried out."""
        return plan(self.stack, self.observed, self.release, now=self.now)

    def step(self, *, dies: bool = False) -> Plan:
        """Make one pass. ``dies``: the operator is killed before it writes the status."""
        planned = self.planned()
        self._credential(planned.credential)
        for manifest in planned.apply:
            self._apply(manifest)
        for scale in planned.scale:
            self.objects[scale.key]["spec"]["replicas"] = scale.replicas
        for key in planned.delete:
            self._delete(key)
        self.finalizers = (FINALIZER,) if planned.finalizer else ()
        if not dies:
            self.status = parse_status(planned.status.model_dump(mode="json", by_alias=True, exclude_none=True))
        self.controllers()
        return planned

    def settle(self, passes: int = 6) -> Plan:
        """Make passes with every pod becoming ready in between; returns the last plan."""
        for _ in range(passes):
            planned = self.step()
            self.all_ready()
        return planned

    def _credential(self, step: CredentialStep | None) -> None:
        stages = {
            CredentialStep.MAKE: CredentialStage.SETTLED,
            CredentialStep.ANNOUNCE: CredentialStage.ANNOUNCING,
            CredentialStep.SWITCH: CredentialStage.SWITCHING,
            CredentialStep.SETTLE: CredentialStage.SETTLED,
        }
        if step is not None:
            asked = self.annotations.get(ANNOTATION_ROTATE)
            self.credential = CredentialFacts(stages[step], self.now.timestamp(), asked)

    # ------------------------------------------------------------------------------------------- what the cluster does

    def _apply(self, manifest: Manifest) -> None:
        key = ObjectKey.of(manifest)
        before, now = self.objects.get(key), copy.deepcopy(manifest)
        if key.kind in {"Deployment", "StatefulSet"}:
            assert "replicas" not in manifest["spec"]
            now["spec"]["replicas"] = 1 if before is None else before["spec"]["replicas"]
            if before is not None:
                assert before["spec"]["selector"] == now["spec"]["selector"], "a selector cannot change"
                if key.kind == "Deployment" and REVISION in now["spec"]["selector"]["matchLabels"]:
                    assert before["spec"]["template"] == now["spec"]["template"], "a revision's template never changes"
            now["status"] = {} if before is None else before["status"]
        if key.kind == "Service" and before is not None:
            former, latter = (each["spec"]["selector"].get(REVISION) for each in (before, now))
            if former != latter:
                self.flips += 1
                self._former.append((self.now, before["spec"]["selector"]))
        self.objects[key] = now

    def _delete(self, key: ObjectKey) -> None:
        assert key.kind not in {"Pod", "Secret", "PersistentVolumeClaim"}
        assert key in self.objects, f"{key} is not there"
        for pod in self.pods.values():
            if pod.owner == key and not self.deleting:
                self.cut += [f"{self.now:%H:%M:%S} {key} {since:%H:%M:%S}" for since in pod.sessions]
        del self.objects[key]

    def controllers(self) -> None:
        """Make and end pods as Deployments and StatefulSets ask for."""
        for key, manifest in self.objects.items():
            if key.kind in {"Deployment", "StatefulSet"}:
                self._replicate(key, manifest)
        for pod in self.pods.values():
            pod.terminating |= pod.owner not in self.objects
        self.pods = {uid: pod for uid, pod in self.pods.items() if pod.sessions or not pod.terminating}
        for key, manifest in self.objects.items():
            if key.kind == "Deployment":
                living = [pod for pod in self.pods.values() if pod.owner == key and not pod.terminating]
                ready = sum(pod.ready for pod in living)
                manifest["status"] = {"replicas": len(living), "readyReplicas": ready}

    def _replicate(self, key: ObjectKey, manifest: Manifest) -> None:
        living = [pod for pod in self.pods.values() if pod.owner == key and not pod.terminating]
        for pod in living[manifest["spec"]["replicas"] :]:
            pod.terminating = True
            told = pod.answers and pod.running and pod.backlog is not None and pod.backlog.records == 0
            if pod.component is Component.LICENSE and not told:
                self.stranded.append(pod.uid)
        for ordinal in range(len(living), manifest["spec"]["replicas"]):
            labels = manifest["spec"]["selector"]["matchLabels"]
            uid = f"{key.name}-{ordinal if key.kind == 'StatefulSet' else next(self._numbers)}"
            component = Component(labels[COMPONENT])
            self.pods[uid] = SimPod(uid, component, labels.get(POOL), labels.get(REVISION), key)

    def all_ready(self) -> None:
        """Let every pod become ready."""
        for pod in self.pods.values():
            pod.ready = pod.running
        self.controllers()

    def pass_time(self, seconds: float) -> None:
        """Let time pass; sessions end at their limit, as gateways end them."""
        self.now += timedelta(seconds=seconds)
        limit = timedelta(seconds=self.spec.max_session_seconds)
        for pod in self.pods.values():
            pod.sessions = [since for since in pod.sessions if since + limit > self.now]
        self.controllers()

    # --------------------------------------------------------------------------------------------------- what there is

    def of(self, component: Component, *, pool: str | None = None, revision: str | None = None) -> list[SimPod]:
        return [
            pod
            for pod in self.pods.values()
            if pod.component is component
            and (pool is None or pod.pool == pool)
            and (revision is None or pod.revision == revision)
        ]

    def gateways(self, revision: str | None = None) -> list[SimPod]:
        return self.of(Component.GATEWAY, revision=revision)

    def begin(self, pod: SimPod) -> None:
        """Begin a session."""
        pod.sessions.append(self.now)

    def end(self, pod: SimPod) -> None:
        """End all sessions of a pod."""
        pod.sessions.clear()
        self.controllers()

    def selected(self, service: str = "demo-gateway") -> str | None:
        found = self.objects.get(ObjectKey("v1", "Service", service))
        revision: str | None = None if found is None else found["spec"]["selector"].get(REVISION)
        return revision

    def takers(self) -> Iterator[SimPod]:
        """Yield the pods that new sessions may come to.

        Of a pool: while gateways that take sessions know it. Through an ingress that has not heard of a flip yet: the
        revision before, for as long as ``STALE_SECONDS``.
        """
        told = json.dumps([self.objects.get(ObjectKey("apps/v1", "Deployment", f"demo-gateway-{self.selected()}"))])
        chosen = [selector for at, selector in self._former if (self.now - at).total_seconds() <= STALE_SECONDS]
        for key, manifest in self.objects.items():
            if key.kind == "Service" and (key.name == "demo-gateway" or f"{key.name}.calls.svc" in told):
                chosen.append(manifest["spec"]["selector"])
        picked = [tuple(map(selector.get, (COMPONENT, POOL, REVISION))) for selector in chosen]
        for pod in self.pods.values():
            if (pod.component, pod.pool, pod.revision) in picked and pod.ready and not pod.terminating:
                yield pod

    def deployments(self, prefix: str = "demo-gateway-") -> set[str]:
        """Return the revisions that have a Deployment of that name's beginning."""
        return {
            key.name.removeprefix(prefix)
            for key in self.objects
            if key.kind == "Deployment" and key.name.startswith(prefix)
        }

    def part(self, pool: str | None = None) -> ComponentStatus:
        if pool is None:
            return self.status.gateway
        return next(each for each in self.status.pools if each.name == pool)

    def active(self, pool: str | None = None) -> str:
        found = self.part(pool).active_revision
        assert found is not None
        return found

    def revision(self, name: str, pool: str | None = None) -> Revision:
        return next(each for each in self.part(pool).revisions if each.revision == name)

    def condition(self, kind: str) -> tuple[str, str]:
        """Return status and reason of a condition."""
        found = next(each for each in self.status.conditions if each.type == kind)
        return str(found.status), found.reason

    def message(self, kind: str) -> str:
        return next(each for each in self.status.conditions if each.type == kind).message


def upgraded(release: Release, tag: str, *, renderer: int | None = None) -> Release:
    """Return an operator that has other images by default, and perhaps a newer renderer."""
    images = {name: image.rsplit(":", 1)[0] + f":{tag}" for name, image in release.images.items()}
    return replace(release, version=tag, images=images, renderer=renderer or release.renderer)


__all__ = ["START", "PoolStatus", "SimPod", "Simulated", "spec", "upgraded"]
