"""Exit statuses of ``streamstack``, the same for every command."""

from typing import Final

OK: Final = 0
FAILED: Final = 1
"""A service of the stack ended, did not become ready or had to be killed."""

USAGE: Final = 2
"""Options, a file or a port cannot be used as asked; nothing was started."""

UNREACHABLE: Final = 3
"""No session: the endpoint refused, did not answer or is no endpoint of ours."""

SESSION_ENDED: Final = 4
"""The session began and the server ended it with an error, or was lost."""

INTERRUPTED: Final = 130
"""Ctrl-C, as shells number it."""

EXPLAINED: Final = f"""exit status:
  {OK}    all went well
  {FAILED}    a service of the stack ended, did not become ready or had to be killed
  {USAGE}    options, a file or a port cannot be used as asked; nothing was started
  {UNREACHABLE}    no session: the endpoint refused, did not answer, or is no streaming endpoint
  {SESSION_ENDED}    the server ended the session with an error, or the connection was lost
  {INTERRUPTED}  interrupted with Ctrl-C
"""
