"""Keeps the cache like the cluster: lists, then watches, and lists again now and then.

kopf's watches resume after an outage, and tell everything that was made or changed meanwhile; what was deleted while a
stream could not resume they do not tell. So everything is listed before they begin, so that the first pass sees all
there is, once more when they have begun, and again every ten minutes and after outages.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from streamstack_operator.cache import Cache, is_told_already, owner
from streamstack_operator.crd_watch import CrdWatch
from streamstack_operator.facts import Manifest, StackKey
from streamstack_operator.kube import ApiUnavailableError, ForbiddenError, KindMissingError, Kube, KubeError, Snapshot
from streamstack_operator.kube.kinds import HTTP_ROUTE, Kind
from streamstack_operator.wiring import WATCHED, labels_of

log = logging.getLogger(__name__)

NOT_LISTED: Final = "nothing was listed yet"
AFTER_START_SECONDS: Final = 15.0
"""By then kopf's streams have begun, and what was deleted between the first list and them is not told by anybody."""
RETRY_SECONDS: Final = 5.0
WELL_AFTER_SECONDS: Final = 60.0
"""Watches that have lasted so long are well: kopf tries for twenty seconds before it gives up."""

WATCHES: Final = "the watches"
API_SERVER: Final = "the API server"

Watch = Callable[[tuple[str, ...]], Coroutine[Any, Any, None]]
"""Watches these namespaces, or all when there are none, until cancelled."""


class Watching:
    """Feeds ``cache``; ``wake`` is told which stacks have news. ``problem`` says what cannot be seen, None if all can.

    ``listed`` is set once the cache holds what there is. ``restarts`` counts how often kopf gave up.
    """

    def __init__(
        self,
        *,
        kube: Kube,
        cache: Cache,
        crd: CrdWatch,
        wake: Callable[[StackKey], None],
        watch: Watch,
        namespaces: tuple[str, ...],
        relist_seconds: float,
    ) -> None:
        self._kube = kube
        self._cache = cache
        self._crd = crd
        self._wake = wake
        self._watch = watch
        self._namespaces = namespaces
        self._relist_seconds = relist_seconds
        self._soon = asyncio.Event()
        self._refused: dict[str, str] = {}
        self.listed = asyncio.Event()
        self.restarts = 0
        self.problem: str | None = NOT_LISTED

    def seen(self, manifest: Manifest) -> None:
        """Take in an object that a watch tells of; what the operator itself wrote into a status is no news."""
        key = owner(manifest)
        before = None if key is None else self._cache.stack(key)
        if self._cache.upsert(manifest) and not is_told_already(before, manifest):
            self._wake_owner(manifest)

    def gone(self, manifest: Manifest) -> None:
        """Drop an object that a watch says is gone."""
        if self._cache.remove(manifest):
            self._wake_owner(manifest)

    def relist_soon(self) -> None:
        """List everything again without waiting: the API server was away."""
        self._soon.set()

    async def run(self) -> None:
        """Work until cancelled. While there is no CRD, or kopf cannot go on, it waits and begins anew."""
        self.listed.clear()
        self._soon.clear()
        self.problem = NOT_LISTED
        while True:
            await self._crd.served.wait()
            seen = await self._list()
            if seen is None:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self.listed.set()
            await self._watch_until_something_else_is_to_be_watched(seen)
            await asyncio.sleep(RETRY_SECONDS)

    async def _watch_until_something_else_is_to_be_watched(self, seen: tuple[str, ...]) -> None:
        """Run kopf and lists beside each other, until kopf gives up or other namespaces can be seen."""
        watching = asyncio.create_task(self._watch(seen))
        well = asyncio.get_running_loop().call_later(WELL_AFTER_SECONDS, self._note, WATCHES, None)
        listing = asyncio.create_task(self._list_again(seen))
        try:
            await asyncio.wait({watching, listing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            well.cancel()
            gave_up = watching.done()
            for task in (watching, listing):
                task.cancel()
            await asyncio.wait({watching, listing})
        if gave_up and not watching.cancelled():
            self.restarts += 1
            self._note(WATCHES, f"{WATCHES} ended and are begun anew: {watching.exception() or 'without an error'}")
        if not listing.cancelled():
            listing.result()

    async def _list_again(self, seen: tuple[str, ...]) -> None:
        """List until other namespaces than ``seen`` can be seen."""
        seconds = min(AFTER_START_SECONDS, self._relist_seconds)
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._soon.wait()
            self._soon.clear()
            found = await self._list()
            if found is None and not self._crd.served.is_set():
                return
            if found is not None and found != seen:
                log.info("other namespaces can be seen now: %s", ", ".join(found))
                return
            seconds = self._relist_seconds if found is not None else RETRY_SECONDS

    async def _list(self) -> tuple[str, ...] | None:
        """List everything once; the namespaces that could be listed, None when nothing could be."""
        try:
            if not self._namespaces:
                seen: tuple[str, ...] | None = () if await self._list_in(None) else None
            else:
                seen = tuple([namespace for namespace in self._namespaces if await self._list_in(namespace)]) or None
        except ApiUnavailableError as error:
            self._note(API_SERVER, str(error))
            return None
        self._note(API_SERVER, None)
        return seen

    async def _list_in(self, namespace: str | None) -> bool:
        """List one namespace, or all; the cache takes in everything or nothing of it. Raises ApiUnavailableError."""
        place = f"namespace {namespace}" if namespace else "the cluster"
        try:
            snapshots = [(kind, await self._snapshot(kind, namespace)) for kind in WATCHED]
        except ApiUnavailableError:
            raise
        except KubeError as error:
            self._note(place, f"{place} cannot be watched: {error}")
            if isinstance(error, KindMissingError):
                await self._crd.look()
            return False
        for kind, snapshot in snapshots:
            self._take_in(kind, snapshot, namespace)
        await self._list_routes(namespace)
        self._note(place, None)
        return True

    async def _list_routes(self, namespace: str | None) -> None:
        """HTTPRoutes are listed where a stack has one, and are not watched: most clusters do not know the kind."""
        stacks = [self._cache.stack(key) for key in self._cache.stacks() if namespace in {None, key.namespace}]
        if not any((stack.get("spec") or {}).get("httpRoute") for stack in stacks if stack is not None):
            return
        try:
            self._take_in(HTTP_ROUTE, await self._snapshot(HTTP_ROUTE, namespace), namespace)
        except (KindMissingError, ForbiddenError) as error:
            log.debug("%s", error)  # the stack's own condition says so when the route is applied

    async def _snapshot(self, kind: Kind, namespace: str | None) -> Snapshot:
        return await self._kube.snapshot(kind.api_version, kind.kind, namespace=namespace, labels=labels_of(kind))

    def _take_in(self, kind: Kind, snapshot: Snapshot, namespace: str | None) -> None:
        news = self._cache.replace(
            kind.api_version, kind.kind, snapshot.items, namespace=namespace, at=snapshot.resource_version
        )
        for key in news:
            self._wake(key)

    def _wake_owner(self, manifest: Manifest) -> None:
        key = owner(manifest)
        if key is not None:
            self._wake(key)

    def _note(self, place: str, problem: str | None) -> None:
        if problem is None:
            self._refused.pop(place, None)
        elif self._refused.get(place) != problem:
            self._refused[place] = problem
            log.warning("%s", problem)
        self.problem = "; ".join(self._refused.values()) or None
