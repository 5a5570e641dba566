"""One pass over one stack: observe, plan, apply, status (DESIGN 8)."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from streamstack_operator.apply import Applier
from streamstack_operator.cache import Cache
from streamstack_operator.checks import SpecError, name_problems, parse_spec, parse_status
from streamstack_operator.credentials import Credentials
from streamstack_operator.facts import Manifest, Observed, Plan, Problem, Release, Stack, StackEvent, StackKey
from streamstack_operator.kube import ForbiddenError, Kube, KubeError, NotFoundError
from streamstack_operator.model.status import StreamingStackStatus
from streamstack_operator.names import (
    ANNOTATION_RECONCILE,
    FINALIZER,
    RECONCILE_DISABLED,
    Reason,
)
from streamstack_operator.observe import Observer
from streamstack_operator.plan.planner import paused, plan, refused
from streamstack_operator.scrape import Scraper

log = logging.getLogger(__name__)

NEVER: Final = math.inf
"""Nothing to look at again; a new event asks for the stack by itself."""

MESSAGE_PROBLEMS: Final = 5
"""As many problems of a spec as one condition's message names."""


def utc_now() -> datetime:
    """Return the present."""
    return datetime.now(UTC)


class Reconciler:
    """Brings stacks to what their specs say. ``crd_problem`` is set while the API server's CRD is an older one."""

    def __init__(
        self,
        *,
        kube: Kube,
        cache: Cache,
        scraper: Scraper,
        release: Release,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._release = release
        self._clock = clock
        self._credentials = Credentials(kube)
        self._applier = Applier(kube, cache)
        self._observer = Observer(kube, cache, scraper, self._credentials)
        self._uids: dict[StackKey, str] = {}
        self.crd_problem: Problem | None = None

    async def __call__(self, key: StackKey) -> float:
        """Make one pass; seconds until the next one is due. Raises KubeError when it could not be finished."""
        manifest = self._cache.stack(key)
        uid = None if manifest is None else str(manifest["metadata"]["uid"])
        if self._uids.get(key, uid) != uid:
            self._forget(key)
        if manifest is None or uid is None:
            return NEVER
        self._uids[key] = uid
        status = parse_status(manifest.get("status"))
        decided, stack = self._decide(manifest, status)
        if stack is not None:
            decided = await self._pass(stack, manifest)
        if decided is None:
            raise RuntimeError("a stack is either refused or planned for")
        await self._tell(key, manifest, decided)
        return decided.again_seconds

    def _decide(self, manifest: Manifest, status: StreamingStackStatus) -> tuple[Plan | None, Stack | None]:
        """Return the plan of a stack that is left alone, or the stack that is to be planned for."""
        generation, now = int(manifest["metadata"]["generation"]), self._clock()
        if (manifest["metadata"].get("annotations") or {}).get(ANNOTATION_RECONCILE) == RECONCILE_DISABLED:
            return paused(status, generation=generation, now=now), None
        if self.crd_problem is not None:
            problem = _with_way_out(self.crd_problem, manifest)
            return refused(status, generation=generation, problem=problem, now=now), None
        try:
            return None, _stack(manifest, status)
        except SpecError as error:
            problem = _with_way_out(Problem(Reason.INVALID_SPEC, _listed(error.problems)), manifest)
            return refused(status, generation=generation, problem=problem, now=now), None

    async def _pass(self, stack: Stack, manifest: Manifest) -> Plan:
        now = self._clock()
        observed = await self._observer.look(stack, now=now)
        planned = plan(stack, observed, self._release, now=now)
        if planned.finalizer and FINALIZER not in stack.finalizers:
            await self._set_finalizer(stack, manifest, present=True)
        if planned.credential is not None:
            await self._credentials.carry_out(stack, planned.credential, now=now)
        failures = await self._carry_out(stack, planned, observed)
        if not planned.finalizer and FINALIZER in stack.finalizers:
            await self._set_finalizer(stack, manifest, present=False)
        if failures:
            # What was refused belongs into the status that is written now; nothing else is done by this plan.
            known = replace(observed, failures=(*observed.failures, *failures))
            planned = plan(stack, known, self._release, now=now)
        return planned

    async def _carry_out(self, stack: Stack, planned: Plan, observed: Observed) -> tuple[Problem, ...]:
        applied = await self._applier.apply(stack, planned.apply, observed.objects)
        scaled = await self._applier.scale(stack, planned.scale)
        deleted = await self._applier.delete(stack, planned.delete, observed.objects)
        return (*applied, *scaled, *deleted)

    async def _set_finalizer(self, stack: Stack, manifest: Manifest, *, present: bool) -> None:
        kept = [name for name in stack.finalizers if name != FINALIZER]
        await self._kube.set_finalizers(
            stack.key,
            [*kept, FINALIZER] if present else kept,
            resource_version=str(manifest["metadata"]["resourceVersion"]),
        )

    async def _tell(self, key: StackKey, manifest: Manifest, decided: Plan) -> None:
        """Write the status when it differs, and the Events."""
        status = decided.status.model_dump(mode="json", by_alias=True, exclude_none=True)
        if status != manifest.get("status"):
            try:
                # The next pass may come before the watch tells of this one.
                self._cache.upsert(await self._kube.apply_status(key, status))
            except NotFoundError:
                return  # deleted meanwhile, perhaps by letting go of the finalizer
        for event in decided.events:
            await self._post(key, manifest, event)

    async def _post(self, key: StackKey, manifest: Manifest, event: StackEvent) -> None:
        log.info("%s: %s: %s", key, event.reason, event.message)
        try:
            await self._kube.create_event(manifest, event, now=self._clock())
        except (ForbiddenError, NotFoundError) as error:
            # The status says the same; a namespace that takes no Events, or is going, stops nothing.
            log.warning("%s: no Event: %s", key, error)

    def _forget(self, key: StackKey) -> None:
        uid = self._uids.pop(key)
        self._observer.forget(key)
        self._applier.forget(uid)
        self._credentials.forget(uid)


def _stack(manifest: Manifest, status: StreamingStackStatus) -> Stack:
    metadata = manifest["metadata"]
    if problems := name_problems(metadata["name"]):
        raise SpecError(problems)
    return Stack(
        key=StackKey(metadata["namespace"], metadata["name"]),
        uid=metadata["uid"],
        generation=int(metadata["generation"]),
        spec=parse_spec(_spec(manifest)),
        status=status,
        annotations=metadata.get("annotations") or {},
        finalizers=tuple(metadata.get("finalizers") or ()),
        deleting="deletionTimestamp" in metadata,
    )


def _with_way_out(problem: Problem, manifest: Manifest) -> Problem:
    """Say how a deleted stack is let go that waits for a drain nobody can plan."""
    metadata = manifest["metadata"]
    if "deletionTimestamp" not in metadata or FINALIZER not in (metadata.get("finalizers") or ()):
        return problem
    return replace(problem, message=f"{problem.message}; to let the deleted stack go, remove its finalizer {FINALIZER}")


def _spec(manifest: Manifest) -> Mapping[str, Any]:
    spec = manifest.get("spec")
    if not isinstance(spec, Mapping):
        raise SpecError((f"spec: expected an object, got {type(spec).__name__}",))
    return spec


def _listed(problems: Sequence[str]) -> str:
    more = len(problems) - MESSAGE_PROBLEMS
    shown = "; ".join(problems[:MESSAGE_PROBLEMS])
    return f"{shown}; and {more} more" if more > 0 else shown


__all__ = ["NEVER", "KubeError", "Reconciler", "utc_now"]
