"""What gateways still use though the spec dropped it: the balancer, pools (DESIGN 3, no-cut).

A gateway's template names the Services that it sends sessions to, and a revision keeps its template for as long as it
drains. What it names has to stay for as long.
"""

import json
import re
from collections.abc import Iterable

from streamstack_common.sessions_report import SessionsReport
from streamstack_operator import names
from streamstack_operator.facts import Manifest, ObjectKey, Observed, Stack
from streamstack_operator.model.spec import Balancer
from streamstack_operator.plan.workloads import Existing


def mentions(manifest: Manifest, service: str) -> bool:
    """Tell whether a pod template names a Service, as a whole word of a host name."""
    found = re.search(rf"(?<![a-z0-9-]){re.escape(service)}(?![a-z0-9-])", json.dumps(manifest["spec"]["template"]))
    return found is not None


def with_balancer(stack: Stack, observed: Observed, gateways: Existing) -> bool:
    """Tell whether the balancer is to run: asked for, or still in use by gateways that were made when it was."""
    if stack.spec.balancer is Balancer.NGINX:
        return True
    name = names.balancer(stack.name)
    if ObjectKey("apps/v1", "Deployment", name) not in observed.objects:
        return False
    return _without_template(gateways) or any(mentions(each, name) for each in gateways.deployments.values())


def elsewhere(pool: str, gateways: Existing) -> int | None:
    """Return what gateways know of sessions in a pool: those that wait for a slot are in no report of the pool's."""
    count = 0
    for pod in gateways.pods:
        report = gateways.reports.get(pod.uid)
        if report is not None:
            count += _in(report, pool)
        elif pod.running and pod.ip is not None:
            return None
    return count


def _in(report: SessionsReport, pool: str) -> int:
    found = report.pools.get(pool)
    return 0 if found is None else found.in_use + found.waiting


def _without_template(gateways: Existing) -> bool:
    """Tell whether there are pods whose Deployment is gone: nobody can say what they use."""
    revisions: Iterable[str | None] = (pod.revision for pod in gateways.pods)
    return any(revision not in gateways.deployments for revision in revisions)
