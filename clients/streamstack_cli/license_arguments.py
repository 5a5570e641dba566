"""Arguments of ``streamstack license``."""

import argparse
from pathlib import Path
from typing import Final

from streamstack_cli.arguments import (
    Commands,
    add_target,
    add_trust,
    command,
    not_negative,
    positive,
    target,
    trust,
    words,
)

DEFAULT_VALID_DAYS: Final = 365
DEFAULT_TRUST_SECONDS: Final = 4 * 86_400
"""Four days, as in the seed's example of a status."""

DAY_SECONDS: Final = 86_400
ADMIN: Final = "the authority's administration token"


def add(commands: Commands) -> None:
    """Add the command and its own commands."""
    whole = command(
        commands,
        "license",
        summary="issue, read and revoke licenses",
        description="Issues and revokes licenses at a license authority of yours, and tells what a license says.",
    )
    own = whole.add_subparsers(dest="license_command", metavar="COMMAND", required=True)
    _add_issue(own)
    _add_inspect(own)
    _add_revoke(own)


def _add_issue(commands: Commands) -> None:
    issue = command(
        commands,
        "issue",
        summary="have a license issued and write it to a file",
        description="Has a license authority issue a license. Files are written for their owner alone, and none "
        "that is there is touched.",
    )
    issue.set_defaults(run=_issue)
    add_target(issue, "authority", what="license authority", credential=ADMIN)
    add_argument = issue.add_argument
    add_argument("--customer", required=True, type=words, metavar="NAME", help="whom it is for")
    add_argument("--billing", required=True, choices=["flat", "usage"], help="flat reports no usage at all")
    add_argument(
        "--models", default="*", type=words, metavar="NAME,NAME", help="models that may be served (default: any)"
    )
    add_argument(
        "--max-sessions", type=positive, metavar="N", help="sessions at once in the whole stack (default: any)"
    )
    add_argument("--valid-days", type=positive, default=DEFAULT_VALID_DAYS, metavar="N",
        help="how long it is valid (default %(default)s)")  # fmt: skip
    add_argument("--trust-window-seconds", type=not_negative, default=DEFAULT_TRUST_SECONDS, metavar="N",
        help="how long it holds after the last good check-in (default %(default)s, four days)")  # fmt: skip
    add_argument("--offline", action="store_true", help="holds by its dates alone: no check-ins, and none to revoke it")
    add_argument("--out", required=True, type=Path, metavar="FILE", help="where the license goes, such as license.jwt")
    add_argument("--api-key-out", type=Path, metavar="FILE", help="where the API key goes that usage is reported with")
    add_argument("--show-api-key", action="store_true", help="show it on this terminal, in place of a file")


def _add_inspect(commands: Commands) -> None:
    inspect = command(
        commands,
        "inspect",
        summary="tell what a license says, and whether it holds",
        description="Prints the claims of a license file and whether it is valid now. Its signature is checked where "
        "keys are given.",
    )
    inspect.set_defaults(run=_inspect)
    inspect.add_argument("file", type=Path, metavar="FILE")
    inspect.add_argument(
        "--keys", metavar="FILE|URL", help="public keys to check it with: a JWKS, or the address of an authority"
    )
    add_trust(inspect)


def _add_revoke(commands: Commands) -> None:
    revoke = command(
        commands,
        "revoke",
        summary="take a license back",
        description="Has a license authority revoke a license. Proxies close admission with their next check-in; live "
        "sessions finish. An offline license holds until it expires: nobody asks about it, and revoking it is refused.",
    )
    revoke.set_defaults(run=_revoke)
    add_target(revoke, "authority", what="license authority", credential=ADMIN)
    revoke.add_argument("license_id", type=words, metavar="ID", help="the license's id, as inspect tells it")
    revoke.add_argument("--reason", type=words, metavar="TEXT", help="kept with the license, for those who ask later")


def _issue(arguments: argparse.Namespace) -> int:
    from streamstack_cli.license_commands import IssueOptions, Wanted, issue

    wanted = Wanted(
        customer=arguments.customer,
        billing=arguments.billing,
        models=tuple(name.strip() for name in arguments.models.split(",")),
        max_sessions=arguments.max_sessions,
        trust_window_seconds=arguments.trust_window_seconds,
        valid_seconds=arguments.valid_days * DAY_SECONDS,
        offline=arguments.offline,
    )
    return issue(
        IssueOptions(
            authority=target(arguments),
            wanted=wanted,
            out=arguments.out,
            api_key_out=arguments.api_key_out,
            show_api_key=arguments.show_api_key,
        )
    )


def _inspect(arguments: argparse.Namespace) -> int:
    from streamstack_cli.license_commands import inspect

    return inspect(arguments.file, keys=arguments.keys, trust=trust(arguments))


def _revoke(arguments: argparse.Namespace) -> int:
    from streamstack_cli.license_commands import revoke

    return revoke(target(arguments), arguments.license_id, reason=arguments.reason)
