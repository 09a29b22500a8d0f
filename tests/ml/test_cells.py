"""Rows grouped by two numbers: by hand, and sums that depend on nothing but the rows of their cell."""

import numpy as np
import polars as pl
import pytest

from recommender.ml.cells import Cells


def numbers(*values: int) -> pl.Series:
    return pl.Series(values, dtype=pl.UInt32)


def test_cells_by_hand() -> None:
    cells = Cells(numbers(7, 0, 7, 7), numbers(1, 4_294_967, 0, 1))

    assert list(zip(cells.first, cells.second, cells.counts, strict=True)) == [(0, 4_294_967, 1), (7, 0, 1), (7, 1, 2)]
    assert cells.first.dtype == cells.second.dtype == np.uint32
    assert cells.sums(pl.Series([1.0, 10.0, 100.0, -3.0])).tolist() == [10.0, 100.0, -2.0]
    assert cells.least(pl.Series([1.0, 10.0, 900.0, -3.0])).tolist() == [10.0, 900.0, -3.0]


def test_no_rows_have_no_cells() -> None:
    cells = Cells(numbers(), numbers())
    nothing = pl.Series([], dtype=pl.Float64)

    assert [len(each) for each in (cells.first, cells.counts, cells.sums(nothing), cells.least(nothing))] == [0] * 4


@pytest.mark.parametrize("chunks", [1, 2, 37])
def test_a_sum_is_the_same_to_the_last_digit_however_the_rows_are_held_and_whatever_else_there_is(chunks: int) -> None:
    random = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "first": random.integers(0, 5, 5_000).astype(np.uint32),
            "second": random.integers(0, 3, 5_000).astype(np.uint32),
            "value": random.lognormal(0, 4, 5_000),
        }
    )
    held = pl.concat(list(frame.iter_slices(-(-len(frame) // chunks))), rechunk=False)
    alone = frame.filter(pl.col("first") == 3)

    cells, its = (Cells(each["first"], each["second"]) for each in (held, alone))

    assert held["value"].n_chunks() == chunks
    assert np.array_equal(cells.sums(held["value"])[cells.first == 3], its.sums(alone["value"]))
