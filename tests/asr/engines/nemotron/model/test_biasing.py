"""What key terms add to the decoder's scores."""

from typing import Any

import pytest

from streamstack_asr.engines.nemotron import keyterms

pytestmark = pytest.mark.nemotron

VOCABULARY, BLANK = 8, 7
TERMS = [(1, 2, 3), (2, 4)]


def edges() -> Any:
    """Two rows: one with terms, one without."""
    import torch

    from streamstack_asr.engines.nemotron.model.biasing import KeytermPools

    pools = KeytermPools(slots=2, device=torch.device("cpu"))
    pools.set(0, keyterms.build(TERMS))
    return pools.of(torch.tensor([0, 1]))


def scores(blank: float) -> Any:
    """Log-probabilities of two rows: ``blank``, and all others alike."""
    import torch

    probabilities = torch.full((2, VOCABULARY), (1 - blank) / (VOCABULARY - 1))
    probabilities[:, BLANK] = blank
    return probabilities.log()


def states(said: list[int]) -> Any:
    """Where both rows are after ``said``."""
    import torch

    found, state = edges(), torch.zeros(2, dtype=torch.long)
    for token in said:
        state = found.after(state, torch.tensor([token, token]))
    return state


def favoured(said: list[int], blank: float = 0.5) -> dict[int, float]:
    """Tokens with a bonus in the row with terms; in the other there are none, to the bit."""
    before = scores(blank)
    after = edges().biased(before, states(said), blank=BLANK)
    assert (after[1] == before[1]).all()
    return {token: bonus for token, bonus in enumerate((after[0] - before[0]).tolist()) if bonus}


def test_a_term_may_begin_anywhere_and_goes_on_with_more() -> None:
    first, second, third = (keyterms.FIRST_BONUS + keyterms.STEP_BONUS * depth for depth in range(3))
    assert favoured([]) == pytest.approx({1: first, 2: first})
    assert favoured([1]) == pytest.approx({1: first, 2: second})
    assert favoured([1, 2]) == pytest.approx({1: first, 2: first, 3: third, 4: second})


@pytest.mark.parametrize("broken", [[1, 6], [1, 2, 6], [1, 2, 3], [2, 4], [6, 6]])
def test_a_term_that_breaks_off_or_is_over_leaves_no_advantage(broken: list[int]) -> None:
    assert favoured(broken) == favoured([])


def test_nothing_is_favoured_where_nothing_was_said() -> None:
    assert favoured([1], blank=keyterms.MOST_BLANK + 0.01) == {}
    assert favoured([1], blank=keyterms.MOST_BLANK - 0.01) != {}
