"""kopf, the one module that knows it: watches that put what they see into the cache, and nothing else.

Only ``kopf.on.event``: no finalizer, no annotation, no progress in the object. Every selector names group, version and
plural, so that kopf scans those groups alone and no broken aggregated API keeps it from starting. Handlers cannot fail
and take no time; whatever takes time is a pass of the queue.
"""

import asyncio
import contextvars
import logging
import signal
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import kopf

from streamstack_operator.facts import Manifest
from streamstack_operator.kube import Access
from streamstack_operator.kube.kinds import (
    BUDGET,
    CONFIG_MAP,
    DEPLOYMENT,
    INGRESS,
    NETWORK_POLICY,
    POD,
    SERVICE,
    SERVICE_ACCOUNT,
    STACK,
    STATEFUL_SET,
    Kind,
)
from streamstack_operator.names import GROUP, LABEL_MANAGED_BY, MANAGED_BY

WATCHED: Final[tuple[Kind, ...]] = (
    STACK,
    SERVICE_ACCOUNT,
    CONFIG_MAP,
    DEPLOYMENT,
    STATEFUL_SET,
    POD,
    SERVICE,
    BUDGET,
    NETWORK_POLICY,
    INGRESS,
)
OURS: Final = f"{LABEL_MANAGED_BY}={MANAGED_BY}"
"""Label selector of everything but stacks: the API server sends nobody else's objects."""

DELETED: Final = "DELETED"
PATIENCE_SECONDS: Final = 3.0
"""Longer than kopf gives the handlers of one object to end."""


def labels_of(kind: Kind) -> str:
    """Return the label selector by which a kind is listed and watched; empty for all of it."""
    return "" if kind == STACK else OURS


def make_registry(
    *, seen: Callable[[Manifest], None], gone: Callable[[Manifest], None], access: Callable[[], Awaitable[Access]]
) -> kopf.OperatorRegistry:
    """Return handlers that tell ``seen`` and ``gone`` what happened, and log kopf in as ``access`` says."""
    registry = kopf.OperatorRegistry()

    async def changed(event: kopf.RawEvent, **_: Any) -> None:
        manifest: Any = event["object"]
        (gone if event["type"] == DELETED else seen)(manifest)

    async def login(**_: Any) -> kopf.AiohttpSession:
        return _connections(await access())

    kopf.on.login(registry=registry, id="login")(login)
    for kind in WATCHED:
        kopf.on.event(group=kind.group, version=kind.version, plural=kind.plural, id=kind.plural, registry=registry)(
            changed
        )
    return registry


def make_settings() -> kopf.OperatorSettings:
    """Return how kopf is to behave: no CRD, peering, Event or annotation of its own, and streams that cannot hang."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.persistence.finalizer = f"{GROUP}/unused"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP, v1=False)
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP, v1=False)
    settings.process.ultimate_exiting_timeout = None  # the kubelet kills what does not end
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 10
    settings.watching.chunk_size = 500
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = (1, 2, 3, 5, 8)
    for kind in WATCHED:
        if labels := labels_of(kind):
            settings.watching.label_selectors[kind.group, kind.version, kind.plural] = labels
    return settings


@dataclass(frozen=True, slots=True)
class _Made:
    """What one run of kopf made: tasks that have not ended, the oldest first, and connections by what they log in with.

    The same login gets the same connections, closed or not: that is how kopf knows one that was refused before.
    """

    tasks: dict[asyncio.Task[Any], None] = field(default_factory=dict)
    connections: dict[Access, kopf.AiohttpSession] = field(default_factory=dict)


_made_by_kopf: contextvars.ContextVar[_Made | None] = contextvars.ContextVar("made_by_kopf", default=None)


async def watch(registry: kopf.OperatorRegistry, *, namespaces: Collection[str], stop: Callable[[], None]) -> None:
    """Watch until cancelled, in these namespaces or, without any, in all. Ends with kopf's error where that gives up.

    ``stop`` is what SIGTERM and SIGINT do in this process: kopf takes both for itself when it starts.

    ``kopf.run_tasks`` would end every younger task of this event loop, ours too (kopf docs/embedding.rst). So what kopf
    makes is told by the context that tasks inherit, and ended here.
    """
    loop, made = asyncio.get_running_loop(), _Made()
    context = contextvars.copy_context()
    context.run(_made_by_kopf.set, made)
    loop.set_task_factory(_task)
    spawning = asyncio.create_task(
        kopf.spawn_tasks(
            registry=registry, settings=make_settings(), clusterwide=not namespaces, namespaces=list(namespaces)
        ),
        context=context,
    )
    try:
        roots = await asyncio.shield(spawning)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        await asyncio.wait(roots, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _to_the_end(_end(spawning, made))
    for task in roots:
        if not task.cancelled():
            task.result()


def _task(loop: asyncio.AbstractEventLoop, coroutine: Any, /, **more: Any) -> asyncio.Task[Any]:
    """Make a task as the loop would without a factory, and remember it while it runs if kopf asked for it."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **more)
    made = more["context"].get(_made_by_kopf) if more.get("context") else _made_by_kopf.get()
    if made is not None:
        made.tasks[task] = None
        task.add_done_callback(made.tasks.pop)
    return task


async def _end(spawning: asyncio.Task[Collection[asyncio.Task[Any]]], made: _Made) -> None:
    """End root tasks, which end most of what they made; then what is left, the oldest first; then connections.

    A scan that is cancelled leaves its requests behind, an orchestrator that fails its watchers, and a watcher that is
    cancelled while it changes streams takes no notice (kopf 1.45.2: scanning.py, orchestration.py, streaming_block in
    watching.py). Whoever made a task ends it properly if asked first, so they are asked one by one, and again.
    Connections are closed here because kopf closes only those it knew of when its roots ended, and only if they did so
    undisturbed (startup_cleanup_activities in running.py).
    """
    roots = await spawning
    for task in roots:
        task.cancel()
    await asyncio.wait(roots, timeout=PATIENCE_SECONDS)
    while made.tasks:
        oldest = next((task for task in made.tasks if task not in roots), next(iter(made.tasks)))
        if oldest not in roots:
            oldest.cancel()
        await asyncio.wait({oldest}, timeout=PATIENCE_SECONDS)
    for connections in made.connections.values():
        await connections.aiohttp_session.close()


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Do ``work`` whole, also when this is cancelled meanwhile; then that is passed on."""
    task, cancelled = asyncio.create_task(work), False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    if cancelled:
        raise asyncio.CancelledError


def _connections(access: Access) -> kopf.AiohttpSession:
    """Return connections that log in as ``access`` says, closed with the run of kopf that asked for them."""
    made = _made_by_kopf.get()
    if made is None:
        raise LookupError("kopf logs in outside of watch()")
    if access not in made.connections:
        secure = kopf.ConnectionInfo(
            server=access.server,
            ca_path=access.ca_file,
            insecure=not access.verify,
            certificate_path=access.certificate_file,
            private_key_path=access.key_file,
        )
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=secure.as_ssl_context()),
            headers={"Authorization": access.authorization} if access.authorization else {},
            proxy=access.proxy,
        )
        made.connections[access] = kopf.AiohttpSession(server=access.server, aiohttp_session=session)
    return made.connections[access]


class _Outages(logging.Filter):
    """Keeps back what each of kopf's ten streams says of every attempt while the API server is away: one line is."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("Request attempt")


def quiet_logs() -> None:
    """Let kopf's warnings and errors through, but for what the API watch says once."""
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("kopf._cogs.clients.api").addFilter(_Outages())
