"""The body of ``GET /sessions``, the same for gateways and ASR servers; the operator decides by it (DESIGN 4, 8)."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from streamstack_common.retirement import Admission


class PoolSessions(BaseModel):
    """Sessions of one pool as this pod sees it."""

    in_use: int = Field(ge=0, description="sessions with a slot")
    waiting: int = Field(ge=0, description="sessions that have begun and have no slot yet")
    refused_total: int = Field(ge=0, description="sessions refused since start for want of a slot")


class SessionsReport(BaseModel):
    """What this pod serves now."""

    schema_version: Literal[1] = 1
    instance_id: str = Field(description="changes with every start of the process")
    revision: str = Field(description="the pod template's revision, empty outside Kubernetes")
    admission: Admission
    generation: int = Field(ge=0, description="of the last retire or resume that was obeyed")
    sessions: int = Field(ge=0, description="live sessions, counted from the upgrade on")
    oldest_started_at: datetime | None = Field(description="start of the oldest live session, UTC")
    capacity: int = Field(ge=0, description="sessions this pod is meant to carry; what scaling aims at")
    max_sessions: int = Field(ge=0, description="sessions at which it refuses new ones")
    pools: dict[str, PoolSessions]


class GenerationRequest(BaseModel):
    """The body of ``POST /retire`` and ``POST /resume``; a generation is an integer, not what could be read as one."""

    model_config = ConfigDict(strict=True)

    generation: int = Field(ge=0, lt=1 << 63)
