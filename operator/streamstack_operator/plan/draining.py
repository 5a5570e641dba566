"""When a revision that takes no new sessions may go: empty for a while, or at its deadline (DESIGN 8)."""

from datetime import datetime
from typing import Final

from streamstack_operator.model.status import Phase, Revision
from streamstack_operator.plan import moments

IDLE_SECONDS: Final = 10.0
"""How long every reading has to say zero. One is not enough: a session may be on its way through an ingress that has
not heard of the new revision yet; kube-proxy and the ingress controllers hear within a second or two. A session that
comes even later is served all the same: pods that are asked to stop finish what they have."""

SAME_DRAIN_SECONDS: Final = 30.0
"""A drain that began less than this ago is not begun anew when an older view of the cluster says that its revision is
the active one: what came to it meanwhile is covered by the margin, which is never below a minute."""


def begin(revision: Revision, now: datetime, *, seconds: float) -> Revision:
    """Return a revision whose last new session may have come just now; it has that many seconds from now on."""
    since = moments.seconds_since(revision.drain_started_at, now)
    if since is not None and 0 <= since < SAME_DRAIN_SECONDS and moments.read(revision.drain_deadline):
        return revision.model_copy(update={"phase": Phase.DRAINING})
    started = {"drain_started_at": moments.text(now), "drain_deadline": moments.after(now, seconds)}
    return revision.model_copy(update={"phase": Phase.DRAINING, "idle_since": None, **started})


def go_on(revision: Revision, sessions: int | None, now: datetime, *, seconds: float) -> Revision:
    """Return a draining revision after one more reading; ``sessions`` is None while a pod cannot be asked.

    Its deadline was set when the drain began and never moves, whatever the spec or a new operator says.
    """
    if revision.phase is Phase.ENDING:
        return revision
    deadline = moments.read(revision.drain_deadline)
    if deadline is None:
        return begin(revision, now, seconds=seconds)
    if now >= deadline:
        return revision.model_copy(update={"phase": Phase.ENDING, "idle_since": None})
    if sessions != 0:
        return revision.model_copy(update={"phase": Phase.DRAINING, "idle_since": None})
    idle_seconds = moments.seconds_since(revision.idle_since, now)
    if idle_seconds is None:
        return revision.model_copy(update={"phase": Phase.DRAINING, "idle_since": moments.text(now)})
    phase = Phase.ENDING if idle_seconds >= IDLE_SECONDS else Phase.DRAINING
    return revision.model_copy(update={"phase": phase})


def clear(revision: Revision, phase: Phase) -> Revision:
    """Return a revision that takes new sessions, or is to."""
    kept = {} if phase is Phase.WARMING else {"drain_started_at": None, "drain_deadline": None}
    # While it warms again it still drains what it had: should it never become active, its deadline holds.
    return revision.model_copy(update={"phase": phase, "idle_since": None, **kept})
