"""One error for a developer: what was wrong, and what to do about it."""


class DevError(Exception):
    """A command of the development tools cannot go on.

    ``what`` names what was found and what was expected; ``do`` is the next thing a person should type or change.
    """

    def __init__(self, what: str, *, do: str) -> None:
        super().__init__(f"{what}\n  what to do: {do}")
        self.what = what
        self.do = do


class Interrupted(BaseException):
    """Somebody asked this command to stop (SIGINT, SIGTERM or SIGHUP); what was begun is being undone.

    Like KeyboardInterrupt an ending, not a mistake, so no ``except Exception`` may swallow it.
    """

    def __init__(self, signal_name: str) -> None:
        super().__init__(signal_name)
        self.signal_name = signal_name
