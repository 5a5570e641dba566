"""Puts together what there is of a stack: from the cache of what is watched, and by asking its pods."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from streamstack_operator.cache import Cache
from streamstack_operator.credentials import CredentialClashError, Credentials, StackCredential
from streamstack_operator.facts import Manifest, ObjectKey, Observed, PodFacts, Problem, Stack, StackKey
from streamstack_operator.kube import ForbiddenError, Kube
from streamstack_operator.names import Reason
from streamstack_operator.pods import pod_facts
from streamstack_operator.scrape import Scraper

FAILED_MOUNT: Final = "FailedMount"
"""kubernetes pkg/kubelet/events/event.go."""

ASKED_ABOUT: Final = 3
"""Pods of one stack whose Events are read in a pass: they wait for the same."""


@dataclass
class Observer:
    """Looks at one stack after the other; keeps which Secrets it has seen, so that an idle stack costs no request."""

    kube: Kube
    cache: Cache
    scraper: Scraper
    credentials: Credentials
    _seen: dict[StackKey, frozenset[str]] = field(default_factory=dict)

    async def look(self, stack: Stack, *, now: datetime) -> Observed:
        """Return what there is. Raises ApiUnavailableError."""
        objects = self.cache.children(stack.uid)
        pods = await self._explained(stack, pod_facts(self.cache.pods(stack.namespace, stack.name)))
        failures = list(workload_failures(objects))
        credential = None
        try:
            credential = await self.credentials.of(stack, now=now)
        except CredentialClashError as clash:
            failures.append(clash.problem)
        except ForbiddenError as error:
            failures.append(Problem(Reason.FORBIDDEN, f"{error}: grant the operator this, as its chart does"))
        missing = await self._missing_secrets(stack, pods)
        observed = Observed(objects=objects, pods=pods, missing_secrets=missing, failures=tuple(failures))
        return observed if credential is None else await self._asked(observed, credential)

    def forget(self, key: StackKey) -> None:
        """Drop what is known of a stack that is gone."""
        self._seen.pop(key, None)

    async def _asked(self, observed: Observed, credential: StackCredential) -> Observed:
        announced = credential.announced
        accepted = frozenset[str]()
        if announced is not None:
            accepted = await self.scraper.accepting(observed.pods, announced)
        return Observed(
            objects=observed.objects,
            pods=observed.pods,
            reports=await self.scraper.reports(observed.pods, credential.sent),
            proxies=await self.scraper.proxies(observed.pods, credential.sent),
            credential=credential.facts(accepted),
            missing_secrets=observed.missing_secrets,
            failures=observed.failures,
        )

    async def _explained(self, stack: Stack, pods: tuple[PodFacts, ...]) -> tuple[PodFacts, ...]:
        """Say of pods that wait for a volume which one it is: a kubelet tells that in Events alone."""
        waiting = [pod for pod in pods if pod.ip is None and pod.problem is None and not pod.terminating]
        told = {}
        for pod in waiting[:ASKED_ABOUT]:
            try:
                messages = await self.kube.events_of_pod(pod.name, reason=FAILED_MOUNT, namespace=stack.namespace)
            except ForbiddenError:
                break
            if messages:
                told[pod.uid] = Problem(Reason.VOLUME_MISSING, f"pod {pod.name}: {messages[-1]}")
        return tuple(replace(pod, problem=told.get(pod.uid, pod.problem)) for pod in pods)

    async def _missing_secrets(self, stack: Stack, pods: tuple[PodFacts, ...]) -> tuple[str, ...]:
        """Return which Secrets that the spec names are not there; asked only while something is not running."""
        wanted = secrets_of(stack)
        if pods and all(pod.ready or pod.terminating for pod in pods) and self._seen.get(stack.key) == wanted:
            return ()
        missing = [name for name in sorted(wanted) if not await self._exists(stack, name)]
        self._seen[stack.key] = wanted - set(missing)
        return tuple(missing)

    async def _exists(self, stack: Stack, name: str) -> bool:
        try:
            return await self.kube.exists(ObjectKey("v1", "Secret", name), namespace=stack.namespace)
        except ForbiddenError:
            return True  # what may not be looked at is not said to be missing; the kubelet will say


def secrets_of(stack: Stack) -> frozenset[str]:
    """Return the Secrets that a stack's pods and ingress cannot do without."""
    spec = stack.spec
    authority = spec.license.authority
    named = {spec.license.secret_name}
    named |= {name for name in (authority.ca_secret_name, authority.client_certificate_secret_name) if name is not None}
    if spec.gateway.tls is not None:
        named.add(spec.gateway.tls.secret_name)
    if spec.ingress is not None and spec.ingress.tls is not None:
        named.add(spec.ingress.tls.secret_name)
    return frozenset(named)


def workload_failures(objects: Mapping[ObjectKey, Manifest]) -> Iterator[Problem]:
    """Yield why Deployments cannot make pods: a quota, an admission policy, a missing service account."""
    for key, manifest in objects.items():
        conditions: list[Mapping[str, Any]] = (manifest.get("status") or {}).get("conditions") or []
        for condition in conditions:
            if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
                message = str(condition.get("message"))
                reason = Reason.QUOTA if "exceeded quota" in message else Reason.REFUSED
                yield Problem(reason, f"{key} cannot make pods: {message}")
