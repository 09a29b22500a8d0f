"""The expected number of uses, and that its interval holds as often as it says."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from recommender.ml.examples import Casebook
from recommender.ml.forecast import (
    FORECASTS_SCHEMA,
    Forecast,
    Forecaster,
    Outcome,
    forecast_campaigns,
    past_outcomes,
    render_forecasts,
)
from recommender.ml.redemption_timing import ObservedUses
from tests.ml.shops import CAMPAIGN_DAYS, CAMPAIGN_STARTS, LAST_DAY, Shop, day, generated_shop, numbers_of

TAUGHT = 100


def outcomes(*pairs: tuple[float, int], kind: str = "", taught_by: int = TAUGHT) -> list[Outcome]:
    return [Outcome(expected, actual, taught_by, kind) for expected, actual in pairs]


def forecast(expected: float, past: list[Outcome] | None = None, **options: Any) -> Forecast:
    return Forecaster(past or [], **({"taught_by": TAUGHT} | options)).forecast(expected)


def width(found: Forecast) -> int:
    return found.high - found.low


# One forecast


def test_without_a_past_the_sum_of_probabilities_is_expected_and_the_interval_wide() -> None:
    found = forecast(100)

    assert found.expected == pytest.approx(100)
    assert found.low < 33
    assert found.high > 250


def test_what_nobody_taught_is_wider_still() -> None:
    taught, untaught = forecast(100), forecast(100, taught_by=0)

    assert untaught.expected == pytest.approx(100)
    assert untaught.low < taught.low
    assert untaught.high > 2 * taught.high


def test_untaught_scores_of_0_do_not_say_that_nothing_will_be_used() -> None:
    assert forecast(0, taught_by=0) == Forecast(0, *forecast(1, taught_by=0)[1:])
    assert forecast(0) == Forecast(0, 0, 0)


def test_untaught_scores_have_no_past_to_learn_from() -> None:
    assert forecast(10, outcomes((10, 90), taught_by=0), taught_by=0) == forecast(10, taught_by=0)
    assert forecast(10, outcomes((10, 90), taught_by=0)) == forecast(10)


def test_the_level_of_the_past_is_taken_over_the_more_of_it_there_is() -> None:
    levels = [Forecaster(outcomes(*[(50, 100)] * count), taught_by=TAUGHT).level for count in (0, 1, 3, 30)]

    assert levels == sorted(levels)
    assert levels[0] == pytest.approx(1)
    assert levels[-1] == pytest.approx(2, abs=0.1)


def test_the_interval_narrows_with_a_past_that_held_and_widens_with_one_that_did_not() -> None:
    steady = outcomes(*[(100, 95), (100, 105), (100, 101), (100, 99)])
    moody = outcomes(*[(100, 20), (100, 300), (100, 60), (100, 150)])

    assert width(forecast(100, steady)) < width(forecast(100)) / 3
    assert width(forecast(100, moody)) > 2 * width(forecast(100, steady))


def test_the_interval_is_wider_than_counting_noise() -> None:
    """Campaigns that vary by half are not forecast as if each pair were drawn by itself."""
    past = outcomes(*[(1_000, actual) for actual in (500, 1_500, 800, 1_200, 600, 1_700)])
    poisson = 2 * 1.645 * np.sqrt(1_000)

    assert width(forecast(1_000, past)) > 5 * poisson


def test_scores_that_less_had_taught_count_less() -> None:
    now, once = (
        Forecaster(outcomes(*[(50, 150)] * 3, taught_by=taught_by), taught_by=TAUGHT).level for taught_by in (100, 10)
    )
    more = Forecaster(outcomes(*[(50, 150)] * 3, taught_by=1_000), taught_by=TAUGHT).level

    assert 1 < once < now == more


def test_another_kind_of_campaign_counts_less_but_counts() -> None:
    past = outcomes(*[(50, 150)] * 3, kind="mail")
    same, other = (Forecaster(past, taught_by=TAUGHT, kind=kind).level for kind in ("mail", "app"))

    assert 1.2 < other < same


def test_a_campaign_of_which_nothing_was_expected_says_nothing() -> None:
    assert forecast(10, outcomes((0, 3))) == forecast(10)


def test_bounds_are_those_of_the_predictive_distribution() -> None:
    forecaster = Forecaster(outcomes((20, 25), (80, 60)), taught_by=TAUGHT)
    for expected in (0.01, 1, 40, 10_000):
        _expected, low, high = forecaster.forecast(expected)
        for bound, share in ((low, 0.05), (high, 0.95)):
            assert forecaster.probability_at_most(bound, expected) >= share
            assert bound == 0 or forecaster.probability_at_most(bound - 1, expected) < share


@pytest.mark.parametrize("expected", [-1.0, float("nan"), float("inf")])
def test_what_is_no_sum_of_probabilities_is_refused(expected: float) -> None:
    with pytest.raises(ValueError, match="sum of probabilities"):
        forecast(expected)


# The intervals hold as often as they say


def coverage(generator: np.random.Generator, past: int, shops: int) -> tuple[float, float]:
    """How often the interval of a new campaign held in generated shops, and its median width relative to expected.

    A bound is a whole number, whose own probability is more than what is left of the 90 %: a count on a bound is inside
    with the share of it that is needed (the randomised probability integral transform).

    A shop's campaigns vary by 10 to 80 %, its level is off by some 30 %, its campaigns have 40 uses in the middle.
    """
    held, widths = [], []
    for _ in range(shops):
        variation = generator.choice([0.1, 0.25, 0.5, 0.8])
        expected = np.exp(generator.normal(np.log(40), 1, past + 1))
        own = generator.gamma(1 / variation**2, variation**2, past + 1)
        actual = generator.poisson(expected * own * np.exp(generator.normal(0, 0.3)))
        *before, (of_new, came) = zip(expected.tolist(), actual.tolist(), strict=True)
        forecaster = Forecaster(outcomes(*before), taught_by=TAUGHT)
        found = forecaster.forecast(of_new)
        below, at_most = (forecaster.probability_at_most(uses, of_new) for uses in (came - 1, came))
        held.append(0.05 < generator.uniform(below, at_most) < 0.95)
        widths.append(width(found) / found.expected)
    return float(np.mean(held)), float(np.median(widths))


@pytest.mark.parametrize("past", [2, 5, 20])
def test_intervals_hold_on_generated_shops(past: int) -> None:
    """The reduced form: within three standard errors of 90 % on so few shops."""
    held, _width = coverage(np.random.default_rng(past), past, shops=100)
    assert held == pytest.approx(0.9, abs=3 * np.sqrt(0.9 * 0.1 / 100))


@pytest.mark.prove
def test_intervals_hold_as_often_as_they_say() -> None:
    found = {past: coverage(np.random.default_rng(past), past, shops=1_000) for past in (2, 5, 20)}

    assert all(0.88 <= held <= 0.93 for held, _width in found.values()), found
    widths = [width for _held, width in found.values()]
    assert widths == sorted(widths, reverse=True), "more campaigns, narrower intervals"


# Walking through time


@pytest.fixture(scope="module")
def scores(casebook: Casebook) -> pl.DataFrame:
    """All campaigns of the generated shop."""
    return score_all(casebook)


def score_all(casebook: Casebook) -> pl.DataFrame:
    """Every pair at 8 %."""
    pairs = [casebook.pairs(campaign) for campaign in casebook.campaigns["campaign"]]
    return pl.concat(pairs).with_columns(algorithm=pl.lit("constant"), score=0.08)


def test_each_campaign_is_forecast_by_those_before_it(casebook: Casebook, scores: pl.DataFrame) -> None:
    found = forecast_campaigns(casebook, scores, until=day(LAST_DAY))

    assert found.schema == FORECASTS_SCHEMA
    assert found["campaign_id"].to_list() == list(CAMPAIGN_STARTS)
    assert found["share"].to_list() == [1.0] * 5
    assert found["actual"].to_list() == [casebook.labels(each, day(LAST_DAY)).sum() for each in found["campaign"]]
    assert found["taught_by"].to_list() == [0, *found["actual"].cum_sum()[:-1]]
    assert found["pairs"].to_list() == [casebook.pairs(each).height for each in found["campaign"]]
    assert found["inside"].to_list() == found["actual"].is_between(found["low"], found["high"]).to_list()

    third = found.row(2, named=True)
    before = [
        Outcome(row["sum_of_scores"], row["actual"], row["taught_by"]) for row in found.head(2).iter_rows(named=True)
    ]
    expected = Forecaster(before, taught_by=third["taught_by"]).forecast(third["sum_of_scores"])
    assert (third["expected"], third["low"], third["high"]) == pytest.approx(tuple(expected))


def test_the_window_is_counted_as_far_as_it_is_observed(casebook: Casebook, scores: pl.DataFrame) -> None:
    half = day(CAMPAIGN_STARTS["last"] + CAMPAIGN_DAYS / 2)
    cut, whole = (forecast_campaigns(casebook, scores, until=until).row(4, named=True) for until in (half, day(999)))

    last = cut["campaign"]
    assert 0.4 < cut["share"] < 0.6
    assert cut["share"] == ObservedUses(casebook).expected_share(last, half)
    assert cut["actual"] == casebook.labels(last, half).sum() < whole["actual"]
    assert cut["sum_of_scores"] == whole["sum_of_scores"]
    assert cut["expected"] == pytest.approx(cut["share"] * whole["expected"])
    assert cut["high"] < whole["high"]


def test_a_running_campaign_is_no_outcome(casebook: Casebook, scores: pl.DataFrame) -> None:
    observed = ObservedUses(casebook)
    for name, known in (("first", 0), ("second", 1), ("last", 4)):
        start = CAMPAIGN_STARTS[name]
        assert len(past_outcomes(observed, scores, day(start + CAMPAIGN_DAYS))) == known, "over only after its end"
        assert len(past_outcomes(observed, scores, day(start + CAMPAIGN_DAYS + 0.01))) == known + 1


def test_a_window_that_data_end_in_is_no_outcome(tmp_path: Path) -> None:
    """A campaign that is over by the calendar, but not in the data."""
    shop = Shop().coupon("c").campaign("only", day(0), day(20), ["c"], ["s1", "s2"]).redeem("s1", "c", "only", day(5))
    casebook = Casebook(shop.write(tmp_path / "shop"))
    scores = score_all(casebook)

    assert past_outcomes(ObservedUses(casebook), scores, day(30)) == []
    shop.sell("s1", day(21), "p")
    observed = ObservedUses(Casebook(shop.write(tmp_path / "later")))
    assert past_outcomes(observed, scores, day(30)) == [Outcome(0.16, 1, 0)]


def test_nothing_later_moves_a_forecast(tmp_path: Path) -> None:
    """Uses from the last campaign's start on: its forecast and all before it stay what they are."""
    shop, changed = generated_shop(), generated_shop()
    for number in range(0, 40):
        changed.redeem(f"S{number:02}", "V-leaf-0", "last", day(CAMPAIGN_STARTS["last"] + 1))
        changed.redeem(f"S{number:02}", "V-leaf-0", "fourth", day(CAMPAIGN_STARTS["last"] + 1))
    known = ["campaign_id", "taught_by", "pairs", "sum_of_scores", "share", "expected", "low", "high"]
    found = []
    for name, each in (("shop", shop), ("changed", changed)):
        casebook = Casebook(each.write(tmp_path / name))
        found.append(forecast_campaigns(casebook, score_all(casebook), until=day(LAST_DAY)))

    # Sums over many threads may differ in their last digit.
    assert_frame_equal(found[0].select(known), found[1].select(known), rel_tol=1e-12)
    assert found[0]["actual"].to_list() != found[1]["actual"].to_list()


def test_scores_of_several_algorithms_are_refused(casebook: Casebook, scores: pl.DataFrame) -> None:
    several = pl.concat([scores, scores.with_columns(algorithm=pl.lit("another"))])
    with pytest.raises(ValueError, match="one algorithm"):
        forecast_campaigns(casebook, several, until=day(LAST_DAY))


def test_no_campaign_at_all(casebook: Casebook, scores: pl.DataFrame) -> None:
    found = forecast_campaigns(casebook, scores.clear(), until=day(LAST_DAY))

    assert found.equals(pl.DataFrame(schema=FORECASTS_SCHEMA))
    assert "held for 0 of 0 campaigns" in render_forecasts(found)


def test_the_table() -> None:
    rows = [
        (0, "spring", "mail", 0, 1_200, 0.0, 1.0, 0.0, 0, 10, 4, True),
        (1, "summer", "", 4, 30_000, 120.24, 0.405, 50.0, 20, 100, 101, False),
    ]
    assert render_forecasts(pl.DataFrame(rows, schema=FORECASTS_SCHEMA, orient="row")) == (
        "| Campaign | Kind | Pairs | Sum of scores | Share observed | Expected | 90 % interval | Used | Inside |\n"
        "|----------|------|-------|---------------|----------------|----------|---------------|------|--------|\n"
        "|   spring | mail |  1200 |           0.0 |          100 % |      0.0 |       0 to 10 |    4 |    yes |\n"
        "|   summer |      | 30000 |         120.2 |           40 % |     50.0 |     20 to 100 |  101 |     no |\n"
        "\n"
        "The 90 % interval held for 1 of 2 campaigns. Their mean width is 1.60 times what is expected.\n"
        "Expected and used are counted to the end of observation.\n"
    )


def test_the_numbers_of_campaigns_do_not_order_them(tmp_path: Path) -> None:
    """The later campaign comes first by its name, and so by its number."""
    shop = Shop().coupon("c")
    for name, start in (("b", 0), ("a", 50)):
        shop.campaign(name, day(start), day(start + 10), ["c"], ["s1", "s2"]).redeem("s1", "c", name, day(start + 1))
    shop.sell("s1", day(100), "p")
    snapshot = shop.write(tmp_path / "shop")
    casebook = Casebook(snapshot)
    assert numbers_of(snapshot, "campaign") == {"a": 0, "b": 1}
    found = forecast_campaigns(casebook, score_all(casebook), until=day(100))
    assert found.select("campaign_id", "taught_by").rows() == [("b", 0), ("a", 1)]
