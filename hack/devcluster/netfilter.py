"""Packet filter rules: what an engine added to them, and how to take exactly that away. Pure, over iptables-save(8)."""

import ipaddress
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

CHAINS = "DOCKER"
"""Every chain that dockerd makes begins with this (DOCKER, DOCKER-USER, DOCKER-ISOLATION-STAGE-1, DOCKER-FORWARD)."""


@dataclass(frozen=True, slots=True)
class Rules:
    """One reading of `iptables-save`: policies by (table, chain), "-" for a chain of a user, and rules in order."""

    policies: dict[tuple[str, str], str]
    rules: tuple[tuple[str, str], ...]

    @property
    def tables(self) -> frozenset[str]:
        """Tables that are there, empty ones included."""
        return frozenset(table for table, _ in self.policies)

    def facts(self) -> list[str]:
        """Return one line per thing that changes a packet's way: rules, chains of users, policies other than ACCEPT."""
        policies = [f"{t}: chain {c} {p}" for (t, c), p in self.policies.items() if p != "ACCEPT"]
        return [*policies, *(f"{table}: {rule}" for table, rule in self.rules)]


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge that an engine made, with its IPv4 subnets."""

    name: str
    subnets: tuple[ipaddress.IPv4Network, ...] = ()


def parse(text: str) -> Rules:
    """Read the output of `iptables-save`; counters are dropped, they say nothing about what a rule does."""
    policies: dict[tuple[str, str], str] = {}
    rules: list[tuple[str, str]] = []
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            chain, policy = line[1:].split()[:2]
            policies[table, chain] = policy
        elif match := re.match(r"(?:\[\d+:\d+\] )?(-A .*)", line):
            rules.append((table, match[1].strip()))
    return Rules(policies, tuple(rules))


def undo(before: Rules, after: Rules, *, bridges: Sequence[Bridge]) -> list[list[str]]:
    """Return the arguments of `iptables`, call by call, that take away what an engine with these bridges added.

    Rules that were there before and rules that others added since stay. Its chains go unless they were there before,
    and the policy of FORWARD (which dockerd sets to DROP where it turns forwarding on) becomes what it was.
    """
    added = Counter(after.rules) - Counter(before.rules)
    chains = [at for at in after.policies if at[1].startswith(CHAINS) and at not in before.policies]
    calls = [
        ["-t", table, "-D", *shlex.split(rule)[1:]]
        for (table, rule), count in added.items()
        if _made_by_engine(rule, bridges) and (table, shlex.split(rule)[1]) not in chains
        for _ in range(count)
    ]
    calls += [["-t", table, "-F", chain] for table, chain in chains]
    calls += [["-t", table, "-X", chain] for table, chain in chains]
    forward = ("filter", "FORWARD")
    policy = before.policies.get(forward, "ACCEPT")
    if after.policies.get(forward, policy) != policy:
        calls.append(["-t", "filter", "-P", "FORWARD", policy])
    return calls


def emptied(before: Rules, after: Rules) -> list[str]:
    """Return tables that were not there before and have nothing in them now."""
    full = {table for table, _ in after.rules} | {t for (t, _), policy in after.policies.items() if policy != "ACCEPT"}
    return sorted(after.tables - before.tables - full)


def _made_by_engine(rule: str, bridges: Sequence[Bridge]) -> bool:
    words = shlex.split(rule)
    named = {words[i + 1] for i, word in enumerate(words[:-1]) if word in {"-i", "-o", "--physdev-in", "--physdev-out"}}
    jumps = {words[i + 1] for i, word in enumerate(words[:-1]) if word in {"-j", "-g"}}
    if words[1].startswith(CHAINS) or any(target.startswith(CHAINS) for target in jumps):
        return True
    return bool(named & {bridge.name for bridge in bridges}) or (jumps == {"MASQUERADE"} and _hairpin(words, bridges))


def _hairpin(words: Sequence[str], bridges: Sequence[Bridge]) -> bool:
    """Recognise the rule of a published port that lets a container reach itself: `-s A/32 -d A/32 ... MASQUERADE`."""
    ends = {words[i + 1] for i, word in enumerate(words[:-1]) if word in {"-s", "-d"}}
    if len(ends) != 1:
        return False
    end = ipaddress.IPv4Network(ends.pop(), strict=False)
    return any(end.subnet_of(subnet) for bridge in bridges for subnet in bridge.subnets)
