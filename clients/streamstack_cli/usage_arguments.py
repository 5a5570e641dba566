"""Arguments of ``streamstack usage``."""

import argparse
from datetime import date
from pathlib import Path

from streamstack_cli.arguments import Commands, add_target, command, not_negative, target, words

ADMIN = "the authority's administration token"
STACK = "the stack's credential"


def add(commands: Commands) -> None:
    """Add the command and its own commands."""
    whole = command(
        commands,
        "usage",
        summary="carry usage to the authority as a file, and see what is billed",
        description="Where a license proxy has no way to its authority: export usage, import it there, and hand the "
        "receipt back. And: what the authority has in its ledger.",
    )
    own = whole.add_subparsers(dest="usage_command", metavar="COMMAND", required=True)
    _add_export(own)
    _add_import(own)
    _add_receipt(own)
    _add_report(own)


def _add_export(commands: Commands) -> None:
    export = command(
        commands,
        "export",
        summary="write a proxy's usage into a file",
        description="Writes what a license proxy has in its journal into a signed file that was checked whole. Each "
        "proxy has a journal of its own.",
    )
    export.set_defaults(run=_export)
    add_target(export, "proxy", what="license proxy", credential=STACK)
    export.add_argument("--out", required=True, type=Path, metavar="FILE", help="such as usage.jsonl.gz; a new one")
    export.add_argument("--after", type=not_negative, metavar="N",
        help="records after number N only (default: all that no receipt tells the proxy to be taken)")  # fmt: skip


def _add_import(commands: Commands) -> None:
    import_ = command(
        commands,
        "import",
        summary="take files of usage into the authority's ledger",
        description="Takes exported files into the authority's ledger in the right order, each record once however "
        "often it is imported, and says what is missing. The authority's receipt is written beside each file.",
    )
    import_.set_defaults(run=_import)
    import_.add_argument("files", nargs="+", type=Path, metavar="FILE")
    add_target(import_, "authority", what="license authority", credential=ADMIN)


def _add_receipt(commands: Commands) -> None:
    receipt = command(
        commands,
        "receipt",
        summary="hand an authority's receipt back to the proxy",
        description="Tells a license proxy what of its journal the authority has, so that it may forget it.",
    )
    receipt.set_defaults(run=_receipt)
    receipt.add_argument("file", type=Path, metavar="FILE", help="the receipt that import wrote")
    add_target(receipt, "proxy", what="license proxy that exported the usage", credential=STACK)


def _add_report(commands: Commands) -> None:
    report = command(
        commands,
        "report",
        summary="what is billed, by customer and day",
        description="Prints what the authority's ledger has, by customer and day (UTC).",
    )
    report.set_defaults(run=_report)
    add_target(report, "authority", what="license authority", credential=ADMIN)
    report.add_argument("--from", dest="first", required=True, type=_date, metavar="YYYY-MM-DD", help="first day")
    report.add_argument("--to", dest="last", required=True, type=_date, metavar="YYYY-MM-DD", help="last day")
    report.add_argument("--customer", type=words, metavar="NAME", help="one customer (default: all)")
    report.add_argument("--json", action="store_true", help="one JSON object, in place of a table")


def _export(arguments: argparse.Namespace) -> int:
    from streamstack_cli.usage_commands import export

    return export(target(arguments), out=arguments.out, after=arguments.after)


def _import(arguments: argparse.Namespace) -> int:
    from streamstack_cli.usage_imports import import_files

    return import_files(target(arguments), arguments.files)


def _receipt(arguments: argparse.Namespace) -> int:
    from streamstack_cli.usage_commands import hand_back

    return hand_back(target(arguments), arguments.file)


def _report(arguments: argparse.Namespace) -> int:
    from streamstack_cli.usage_reports import Period, report

    period = Period(first=arguments.first, last=arguments.last)
    return report(target(arguments), period, customer=arguments.customer, as_json=arguments.json)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a day such as 2026-01-31") from None
