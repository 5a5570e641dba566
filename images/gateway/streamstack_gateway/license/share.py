"""A gateway's share of the license's limit of sessions.

The limit is the whole stack's, and gateways do not talk to each other: each admits at most ``ceil(limit / gateways)``
sessions, ``gateways`` being how many addresses ``GATEWAY_PEERS`` leads to.

How far that may go above the limit:

- While every gateway counts all of them: ``gateways * ceil(limit / gateways)`` is at most ``gateways - 1`` above it.
- While gateways come and go: at most the sum, over all gateways that have sessions, of ``ceil(limit / fewest)``, where
  ``fewest`` is the smallest number that gateway has counted since its oldest live session began. No session is ever
  ended for it (invariant no-cut). With ``before`` gateways growing to ``after``, each newcomer counting at least
  ``before``, that is less than ``limit * after / before + after``. Where ``GATEWAY_PEERS`` leads to one revision alone,
  as the operator has it, the sessions of one that drains are on top: at most as many again, once a rollout.
- It shrinks as old sessions end, since a gateway above its share admits none, and is ``gateways - 1`` again when the
  last session of that time has ended, after ``MAX_SESSION_SECONDS`` at most.
- A gateway that could never look its peers up counts itself alone and admits up to the limit. One whose look-ups fail
  later keeps the last number, so an outage of the DNS raises no share.
"""

from collections.abc import Callable
from math import inf

from prometheus_client import CollectorRegistry, Gauge

from streamstack_gateway.license.view import Terms
from streamstack_gateway.session.ports import Allowance


def share(limit: int | None, gateways: int) -> int | None:
    """Sessions that one of ``gateways`` may have at once; None is no limit."""
    return None if limit is None else -(-limit // gateways)


class LicenseShare:
    """What the license leaves this gateway, from its terms and the number of gateways, read when asked."""

    def __init__(self, terms: Callable[[], Terms], gateways: Callable[[], int], registry: CollectorRegistry) -> None:
        self._terms = terms
        self._gateways = gateways
        Gauge(
            "streamstack_gateway_license_session_limit",
            "sessions the license leaves this gateway; +Inf without a limit",
            registry=registry,
        ).set_function(self._limit)
        Gauge(
            "streamstack_gateway_license_gateways", "gateways that share the license's limit", registry=registry
        ).set_function(lambda: float(gateways()))

    def allowance(self) -> Allowance:
        """What sessions may be admitted now."""
        terms = self._terms()
        return Allowance(share(terms.max_sessions, self._gateways()), terms.models)

    def _limit(self) -> float:
        sessions = self.allowance().sessions
        return inf if sessions is None else float(sessions)
