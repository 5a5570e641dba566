"""How a bug in code we call back is logged: where it happened, without values that could be a transcript."""

import logging
import traceback


def log_bug(logger: logging.Logger, where: str, error: BaseException) -> None:
    """Log ``error``'s type and stack; never its text, which may quote audio or words (invariant "sealed")."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error("%s raised %s\n%s", where, type(error).__name__, frames)
