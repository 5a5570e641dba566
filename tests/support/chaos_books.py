"""What a chaos run's lines have seen: who reported what, what was acknowledged, what went on to the authority."""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamstack_common.authority import JOURNALS_PATH, Upload
from streamstack_common.usage import USAGE_PATH, UsageReceipt, chain_start, chained
from support.chaos_judge import Statement
from support.relay import Exchange


def _statement(report: Any) -> Statement:
    return Statement(report["session_id"], report["sequence"], report["audio_ms"], report.get("outcome"))


@dataclass
class Books:
    """Fed by the lines while the run goes on."""

    reported: set[Statement] = field(default_factory=set)
    acknowledged: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    recorded: set[Statement] = field(default_factory=set)
    journals: defaultdict[str, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))
    forks: dict[str, str] = field(default_factory=dict)

    def asked_of_proxy(self, path: str, body: bytes) -> None:
        """What a gateway says, whether it arrives or not."""
        if path == USAGE_PATH:
            self.reported.update(_statement(report) for report in json.loads(body)["reports"])

    def answered_by_proxy(self, exchange: Exchange) -> None:
        """What a proxy has on its disk, if its word counts for anything."""
        if exchange.path != USAGE_PATH or exchange.status != 200:
            return
        refused = {it.index: it.reason for it in UsageReceipt.model_validate_json(exchange.answer).rejected}
        for index, report in enumerate(json.loads(exchange.body)["reports"]):
            name = report["session_id"]
            if index in refused:
                self.rejected[name] = f"report {report['sequence']}: {refused[index]}"
            else:
                self.acknowledged[name] = max(self.acknowledged.get(name, 0), report["audio_ms"])

    def asked_of_authority(self, path: str, body: bytes) -> None:
        """What a proxy has recorded: every record is sent up before it may be forgotten."""
        if not path.startswith(JOURNALS_PATH):
            return
        journal_id = path.split("/")[3]
        upload = Upload.model_validate_json(body)
        journal = self.journals[journal_id]
        for number, record in enumerate(upload.records, start=upload.first):
            self.recorded.add(_statement(json.loads(record)))
            if journal.setdefault(number, record) != record:
                self.forks[journal_id] = f"record {number} was sent up in two versions"

    def broken_chains(self, files: Iterable[Path], ledger: Path) -> dict[str, str]:
        """What is wrong with the journals: the files of proxies and the authority's, against what was sent up."""
        problems = dict(self.forks)
        heads = {journal_id: self._head(journal_id, problems) for journal_id in self.journals}
        found = [_of_file(file, heads) for file in files]
        # What was found first says most: the rest follows from it.
        for journal_id, problem in (pair for each in (*found, _of_ledger(ledger, heads)) for pair in each.items()):
            problems.setdefault(journal_id, problem)
        return problems

    def _head(self, journal_id: str, problems: dict[str, str]) -> tuple[int, bytes]:
        """Number and hash of the last record that was sent up."""
        head, journal = chain_start(journal_id), self.journals[journal_id]
        for number in range(1, len(journal) + 1):
            if number not in journal:
                problems[journal_id] = f"record {number} was never sent up, {max(journal)} was"
                return 0, head
            head = chained(head, number, journal[number])
        return len(journal), head


Heads = dict[str, tuple[int, bytes]]


def _of_file(file: Path, heads: Heads) -> dict[str, str]:
    """Follow the chain in a proxy's journal from where it was pruned to its head."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        journal_id, number, head = connection.execute("SELECT journal_id, pruned, pruned_hash FROM journal").fetchone()
        for found, stored, body in connection.execute("SELECT number, hash, body FROM records ORDER BY number"):
            number += 1
            head = chained(head, number, body)
            if (found, stored) != (number, head):
                return {journal_id: f"{file.parent.name}: record {found} does not follow from record {number - 1}"}
    if heads.get(journal_id, (0, chain_start(journal_id))) != (number, head):
        return {journal_id: f"{file.parent.name}: it ends with record {number}, which is not what was sent up"}
    return {}


def _of_ledger(ledger: Path, heads: Heads) -> dict[str, str]:
    """Follow the chains in the authority's ledger: as long as what was sent up, and the same."""
    problems = {}
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        for journal_id, expected in heads.items():
            number, head = 0, chain_start(journal_id)
            query = "SELECT number, hash, CAST(body AS TEXT) FROM records WHERE journal_id = ? ORDER BY number"
            for found, stored, body in connection.execute(query, (journal_id,)):
                number += 1
                head = chained(head, number, body)
                if (found, stored) != (number, head):
                    problems[journal_id] = f"ledger: record {found} does not follow from record {number - 1}"
                    break
            if (number, head) != expected:
                problems.setdefault(journal_id, f"ledger: {number} records, {expected[0]} were sent up")
    return problems
