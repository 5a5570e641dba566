from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamstack_operator.quantity import amount


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        (2, "2"),
        ("2", "2"),
        ("+0.5", "0.5"),
        (".5", "0.5"),
        ("1.", "1"),
        ("500m", "0.5"),
        ("100u", "0.0001"),
        ("1n", "1e-9"),
        ("3k", "3000"),
        ("1Ki", "1024"),
        ("2Gi", "2147483648"),
        ("1.5Mi", "1572864"),
        ("1E", "1e18"),
        ("1Ei", "1152921504606846976"),
        ("1e3", "1000"),
        ("1E-3", "0.001"),
        ("12e+2", "1200"),
    ],
)
def test_a_quantity_amounts_to_what_kubernetes_says(quantity, expected):
    assert amount(quantity) == Decimal(expected)


@pytest.mark.parametrize("text", ["", "Gi", "1 Gi", "1GiB", "1K", "one", "-1", "1e", "1e2.5"])
def test_what_is_no_quantity_is_refused_by_name(text):
    with pytest.raises(ValueError, match="expected a quantity"):
        amount(text)


@given(st.integers(0, 2**62), st.sampled_from(["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]))
def test_binary_suffixes_are_powers_of_1024(number, suffix):
    power = "KMGTPE".index(suffix[0]) + 1
    assert amount(f"{number}{suffix}") == amount(number) * 1024**power
