import json
from pathlib import Path

import pytest

from streamstack_asr.engines.nemotron import timing
from streamstack_asr.engines.nemotron.facts import ModelError
from streamstack_asr.engines.nemotron.timing import Timing


def test_a_folder_without_a_timing_delays_nothing(tmp_path: Path) -> None:
    assert timing.read(tmp_path, 6) == Timing(0, 0)


def test_what_is_written_is_read_for_its_lookahead(tmp_path: Path) -> None:
    timing.write(tmp_path, {0: Timing(240, 160), 6: Timing(80, -40)})
    assert timing.read(tmp_path, 0) == Timing(240, 160)
    assert timing.read(tmp_path, 6) == Timing(80, -40)
    assert timing.read(tmp_path, 3) == Timing()


@pytest.mark.parametrize("delay", ["80", True, 3_000, 1.5])
def test_a_delay_that_is_none_is_refused_by_name(tmp_path: Path, delay: object) -> None:
    (tmp_path / "timing.json").write_text(json.dumps({"6": {"start_delay_ms": delay}}))
    with pytest.raises(ModelError, match=r"timing.json: 6.start_delay_ms is .*, expected ms from -2000 to 2000"):
        timing.read(tmp_path, 6)


def test_calibration_takes_the_median_and_one_word_heard_late_changes_nothing() -> None:
    starts = [(500, 300), (900, 710), (1_500, 1_290), (9_000, 2_000)]
    ends = [(700, 600), (1_100, 1_000), (1_700, 1_620)]
    assert timing.calibrated(starts, ends) == Timing(205, 100)


def test_delays_are_told_in_samples() -> None:
    assert (Timing(80, 10).start_delay_samples, Timing(80, 10).end_delay_samples) == (1_280, 160)
