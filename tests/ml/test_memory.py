"""The process's peak memory, of a stretch and as a whole."""

import sys
from pathlib import Path

import numpy as np
import pytest

from recommender.ml import memory
from recommender.ml.memory import PeakMemory, process_peak

MIB = 2**20


def hold(mebibytes: int) -> None:
    np.ones(mebibytes * MIB, dtype=np.uint8)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets a peak")
def test_a_stretch_has_a_peak_of_its_own() -> None:
    peaks = PeakMemory()
    peaks.begin()
    hold(300)
    large = peaks.end()
    peaks.begin()
    hold(50)
    small = peaks.end()

    assert large is not None
    assert small is not None
    assert small < large - 200 * MIB
    assert process_peak() >= large


def test_where_a_peak_cannot_be_forgotten_only_the_whole_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "CLEAR_REFS", tmp_path / "missing" / "clear_refs")
    peaks = PeakMemory()

    peaks.begin()

    assert peaks.end() is None
    assert process_peak() > 10 * MIB
