"""Campaigns divided by time: nothing that is predicted teaches, and nothing is lost or doubled."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recommender.ml.evaluation.splits import default_validation_start, label_pairs, teaching_campaigns, walk_forward
from recommender.ml.history import TIME

DAY_0 = datetime(2017, 1, 1, tzinfo=UTC)


def day(number: float) -> datetime:
    return DAY_0 + timedelta(days=number)


def campaigns(*windows: tuple[float, float]) -> pl.DataFrame:
    """Campaigns 0, 1, ... with the days on which they start and end."""
    return pl.DataFrame(
        {
            "campaign": range(len(windows)),
            "starts_at": [day(start) for start, _ in windows],
            "ends_at": [day(end) for _, end in windows],
        },
        schema={"campaign": pl.UInt32, "starts_at": TIME, "ends_at": TIME},
    )


windows = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 20)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=12
)


def test_walk_forward_by_hand() -> None:
    some = campaigns((30, 40), (10, 20), (20, 90), (9, 50), (10, 11))

    assert walk_forward(some, day(10), day(30))["campaign"].to_list() == [1, 4, 2]
    assert walk_forward(some, day(10), day(10)).height == 0
    assert walk_forward(some, day(10), day(31)).columns == some.columns


def test_a_window_that_ends_at_the_moment_does_not_teach() -> None:
    some = campaigns((0, 10), (0, 9.999), (5, 11), (10, 12))

    assert teaching_campaigns(some, day(10))["campaign"].to_list() == [1]


@given(windows, st.integers(0, 60))
def test_no_teaching_window_reaches_the_moment(some: list[tuple[int, int]], moment: int) -> None:
    teaching = teaching_campaigns(campaigns(*some), day(moment))["campaign"].to_list()

    assert sorted(teaching) == [number for number, (start, end) in enumerate(some) if end < moment]
    assert all(some[number][1] < moment for number in teaching)


@given(windows, st.integers(0, 60))
def test_a_campaign_that_is_predicted_never_teaches_itself_or_an_earlier_one(
    some: list[tuple[int, int]], moment: int
) -> None:
    predicted = walk_forward(campaigns(*some), day(moment), day(100))
    for row in predicted.iter_rows(named=True):
        taught_by = teaching_campaigns(campaigns(*some), row["starts_at"])
        assert row["campaign"] not in taught_by["campaign"].to_list()
        assert taught_by.filter(pl.col("ends_at") >= row["starts_at"]).height == 0


@given(windows, st.lists(st.integers(0, 60), min_size=1, max_size=3))
def test_adjacent_periods_partition_the_campaigns(some: list[tuple[int, int]], cuts: list[int]) -> None:
    borders = [day(-1), *(day(cut) for cut in sorted(cuts)), day(100)]
    parts = [walk_forward(campaigns(*some), start, end) for start, end in pairwise(borders)]

    assert sorted(number for part in parts for number in part["campaign"]) == list(range(len(some)))
    starts = [start for part in parts for start in part["starts_at"]]
    assert starts == sorted(starts)


def test_a_period_that_ends_before_it_starts_and_a_moment_without_a_zone_are_refused() -> None:
    with pytest.raises(ValueError, match="before it starts at 2017-01-03"):
        walk_forward(campaigns(), day(2), day(1))
    for refused in (
        lambda naive: walk_forward(campaigns(), naive, day(1)),
        lambda naive: walk_forward(campaigns(), day(1), naive),
        lambda naive: teaching_campaigns(campaigns(), naive),
        lambda naive: label_pairs(pl.DataFrame(), pl.DataFrame(), before=naive),
    ):
        with pytest.raises(ValueError, match="2017-01-02T00:00:00 has no time zone"):
            refused(datetime(2017, 1, 2))


@pytest.mark.parametrize(
    ("start", "validation"),
    [
        ((2017, 9, 1), (2017, 5, 1)),
        ((2017, 3, 15), (2016, 11, 15)),
        ((2017, 6, 30), (2017, 2, 28)),
        ((2016, 6, 30), (2016, 2, 29)),
        ((2017, 4, 30), (2016, 12, 30)),
    ],
)
def test_validation_starts_four_calendar_months_earlier(start: tuple[int, ...], validation: tuple[int, ...]) -> None:
    zone = timezone(timedelta(hours=-5))

    assert default_validation_start(datetime(*start, 6, tzinfo=zone)) == datetime(*validation, 6, tzinfo=zone)


def test_labels_count_redemptions_of_the_campaign_strictly_before_the_cut() -> None:
    pairs = pl.DataFrame(
        {"campaign": [1, 0, 0, 0, 0], "shopper": [7, 7, 7, 8, 8], "coupon": [2, 2, 3, 2, 3]},
        schema=dict.fromkeys(("campaign", "shopper", "coupon"), pl.UInt32),
    )
    redemptions = pl.DataFrame(
        [
            (0, 7, 2, day(9)),
            (0, 7, 2, day(5)),  # twice, but one label
            (0, 7, 3, day(10)),  # at the cut
            (0, 8, 2, day(11)),
            (None, 8, 3, day(1)),  # of no campaign
            (1, 9, 2, day(1)),  # of nobody asked for
        ],
        schema={"campaign": pl.UInt32, "shopper": pl.UInt32, "coupon": pl.UInt32, "redeemed_at": TIME},
        orient="row",
    )

    labelled = label_pairs(pairs, redemptions, before=day(10))
    assert labelled.drop("label").equals(pairs)
    assert labelled["label"].to_list() == [False, True, False, False, False]
    assert label_pairs(pairs, redemptions, before=day(12))["label"].to_list() == [False, True, True, True, False]
