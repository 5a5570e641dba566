import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_gateway.placement.config import (
    PlacementConfig,
    PlacementConfigError,
    PoolConfig,
    Target,
    format_pools,
    parse_pools,
    parse_target,
)

NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
MODELS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
HOSTS = st.one_of(
    st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,20}[a-z0-9])?", fullmatch=True),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
)
TARGETS = st.builds(lambda host, port: f"{host}:{port}", HOSTS, st.integers(1, 65535))
POOLS = st.builds(
    PoolConfig,
    name=NAMES,
    model_version=MODELS,
    targets=st.lists(TARGETS, unique=True, max_size=4).map(tuple),
)


@given(st.lists(POOLS, max_size=4).map(tuple))
def test_pools_survive_being_written_and_read(pools: tuple[PoolConfig, ...]) -> None:
    assert parse_pools(format_pools(pools)) == pools


@given(TARGETS)
def test_a_target_survives_being_read_and_written(text: str) -> None:
    assert str(parse_target(text)) == text


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_with_a_typed_error(text: str) -> None:
    try:
        pools = parse_pools(text)
    except PlacementConfigError:
        return
    assert parse_pools(format_pools(pools)) == pools


def test_the_documented_example_is_understood() -> None:
    assert parse_pools(
        "english/en-default=asr-english:50051;multilingual/ml-default=10.0.0.7:50051,10.0.0.8:50051"
    ) == (
        PoolConfig("english", "en-default", ("asr-english:50051",)),
        PoolConfig("multilingual", "ml-default", ("10.0.0.7:50051", "10.0.0.8:50051")),
    )


def test_blanks_and_a_last_semicolon_do_no_harm() -> None:
    assert parse_pools(" english / en-default = a:1 , b:2 ; ") == (PoolConfig("english", "en-default", ("a:1", "b:2")),)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("english=asr:50051", "english=asr:50051"),
        ("English/en=asr:1", "English/en=asr:1"),
        ("english/e n=asr:1", "english/e n=asr:1"),
        ("english/en=asr", "'asr'"),
        ("english/en=asr:0", "'asr:0'"),
        ("english/en=asr:65536", "'asr:65536'"),
        ("english/en=asr:http", "'asr:http'"),
        ("english/en=:1", "':1'"),
        ("english/en=[::g]:1", "'[::g]:1'"),
        ("english/en=::1:1", "'::1:1'"),
        ("english/en=a:1,a:1", "'a:1'"),
        ("english/en=", "''"),
    ],
)
def test_what_is_wrong_is_named(text: str, named: str) -> None:
    with pytest.raises(PlacementConfigError, match="expected") as caught:
        parse_pools(text)
    assert named in str(caught.value)


def test_a_pool_without_targets_needs_a_balancer() -> None:
    pools = parse_pools("english/en-default")
    assert PlacementConfig(pools, balancer="asr-lb:80").pools == pools
    with pytest.raises(PlacementConfigError, match=r"'english'.*balancer"):
        PlacementConfig(pools)


@pytest.mark.parametrize(
    ("pools", "balancer", "named"),
    [("", None, "at least one"), ("a/m=h:1;a/n=h:2", None, "'a'.*once"), ("a/m", "lb", "'lb'.*host:port")],
)
def test_a_configuration_that_cannot_work_is_refused(pools: str, balancer: str | None, named: str) -> None:
    with pytest.raises(PlacementConfigError, match=named):
        PlacementConfig(parse_pools(pools), balancer=balancer, ca_file=Path("unused"))


@given(st.ip_addresses())
def test_addresses_need_no_dns(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert Target(str(address), 1).is_address
    assert not Target("asr-english", 1).is_address
