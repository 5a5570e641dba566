"""Exit statuses of ``streamstack``, the same for every command."""

from typing import Final

OK: Final = 0
FAILED: Final = 1
"""A service of the stack ended, did not become ready or had to be killed; a machine carries not even one session."""

USAGE: Final = 2
"""Options, a file or a port cannot be used as asked; nothing was started or asked for."""

UNREACHABLE: Final = 3
"""No session, no answer: the endpoint refused the connection, did not answer or is no endpoint of ours."""

SESSION_ENDED: Final = 4
"""The session began and the server ended it with an error, or was lost."""

REFUSED: Final = 5
"""The license authority or the license proxy answered, and refused what was asked."""

INVALID: Final = 6
"""A license or a file of usage is forged, broken, or not valid now."""

MISSING: Final = 7
"""Usage records are missing between what the authority has and what was given to it."""

INTERRUPTED: Final = 130
"""Ctrl-C, as shells number it."""

EXPLAINED: Final = f"""exit status:
  {OK}    all went well
  {FAILED}    a service of the stack ended, did not become ready or had to be killed; calibrate: nothing met the target
  {USAGE}    options, a file or a port cannot be used as asked; nothing was started or asked for
  {UNREACHABLE}    no session or no answer: the endpoint refused, did not answer, or is none of ours
  {SESSION_ENDED}    the server ended the session with an error, or the connection was lost
  {REFUSED}    the license authority or the license proxy refused what was asked
  {INVALID}    a license or a file of usage is forged, broken, or not valid now
  {MISSING}    usage records are missing between what the authority has and what was given to it
  {INTERRUPTED}  interrupted with Ctrl-C
"""
