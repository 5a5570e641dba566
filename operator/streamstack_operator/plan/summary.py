"""One line for ``kubectl get sst``."""

from streamstack_operator.model.status import ConditionStatus, StreamingStackStatus
from streamstack_operator.names import Condition
from streamstack_operator.plan.conditions import find


def line(status: StreamingStackStatus) -> str:
    """Return what runs, how many sessions, license and version; what is wrong stands before it."""
    ready = find(status.conditions, Condition.READY)
    wrong = f"{ready.reason}: " if ready is not None and ready.status is not ConditionStatus.TRUE else ""
    sessions = "?" if status.gateway.sessions is None else str(status.gateway.sessions)
    parts = [
        f"{status.gateway.ready} gateways",
        f"{status.asr_ready} ASR",
        *([] if status.balancer_ready is None else [f"{status.balancer_ready} balancers"]),
        f"{sessions} session{'' if sessions == '1' else 's'}",
        f"license {status.license.state}",
        *([f"operator {status.version}"] if status.version else []),
    ]
    return wrong + ", ".join(parts)


def summed_up(status: StreamingStackStatus) -> StreamingStackStatus:
    """Return the status with its summary."""
    return status.model_copy(update={"summary": line(status)})
