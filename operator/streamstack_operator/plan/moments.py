"""Moments as Kubernetes writes them: RFC 3339 in UTC, to the second."""

from datetime import UTC, datetime, timedelta


def text(moment: datetime) -> str:
    """Return an aware moment's text; parts of a second are cut off."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read(written: str | None) -> datetime | None:
    """Return the moment of a text, None where there is none: a status may have been edited by hand."""
    if written is None:
        return None
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def after(moment: datetime, seconds: float) -> str:
    """Return the text of the moment that many seconds later."""
    return text(moment + timedelta(seconds=seconds))


def seconds_since(written: str | None, now: datetime) -> float | None:
    """Return how long ago something was, None where it is not known."""
    moment = read(written)
    return None if moment is None else (now - moment).total_seconds()


def minute(moment: datetime | None) -> str | None:
    """Return a moment's text to the minute: what changes with every session is written once a minute at most."""
    return None if moment is None else text(moment.replace(second=0))


def from_seconds(seconds: float) -> str:
    """Return the text of a moment given in seconds since the epoch."""
    return text(datetime.fromtimestamp(seconds, UTC))
