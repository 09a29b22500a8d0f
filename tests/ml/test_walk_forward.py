"""Past campaigns, each scored by what was known strictly before its start."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recommender.ml import walk_forward
from recommender.ml.algorithms import ALGORITHMS, Algorithm
from recommender.ml.algorithms.popularity import Popularity
from recommender.ml.algorithms.trees import DecisionTree
from recommender.ml.examples import Casebook
from recommender.ml.history import Snapshot
from recommender.ml.redemption_timing import ObservedUses
from recommender.ml.walk_forward import SCORES_SCHEMA, WORTH_REFITTING, fit_as_of, score_period
from recommender.progress import Cancelled, Progress
from tests.ml.shops import CAMPAIGN_STARTS, LAST_DAY, LAST_START, Shop, day, generated_shop, numbers_of

END = day(LAST_DAY)


def score(casebook: Casebook, *algorithms: type[Algorithm], start: float, end: float, **options: Any) -> pl.DataFrame:
    found = score_period(
        casebook,
        algorithms,
        day(start),
        day(end),
        labels_before=options.pop("labels_before", END),
        seed=0,
        progress=options.pop("progress", Progress()),
    )
    assert list(found.costs) == [algorithm.name for algorithm in algorithms]
    assert {cost.pairs for cost in found.costs.values()} == {len(found.scores) // len(algorithms)}
    return found.scores


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """The algorithms that are fitted and the days as of which, in turn."""
    done = []

    def fit(algorithm: type[Algorithm], casebook: Casebook, moment: Any, *rest: Any) -> Any:
        done.append((algorithm.name, (moment - day(0)).total_seconds() / 86_400))
        return fit_as_of(algorithm, casebook, moment, *rest)

    monkeypatch.setattr(walk_forward, "fit_as_of", fit)
    return done


def test_every_pair_of_every_campaign_of_the_period(casebook: Casebook, snapshot: Snapshot) -> None:
    scores = score(casebook, Popularity, DecisionTree, start=150, end=210)

    assert scores.schema == pl.Schema(SCORES_SCHEMA)
    campaigns = numbers_of(snapshot, "campaign")
    pairs = pl.concat([casebook.pairs(campaigns[name]) for name in ("third", "fourth")])
    for name in ("popularity", "decision_tree"):
        assert scores.filter(algorithm=name).select(pairs.columns).equals(pairs)


def test_scores_are_those_of_what_was_known_at_the_start(casebook: Casebook, snapshot: Snapshot) -> None:
    last = numbers_of(snapshot, "campaign")["last"]
    model = fit_as_of(Popularity, casebook, LAST_START, seed=0).model

    scores = score(casebook, Popularity, start=210, end=211)

    np.testing.assert_array_equal(scores["score"], model.score(casebook.described(Popularity.inputs, last)))
    assert scores["label"].sum() == casebook.labels(last, END).sum() > 0


def test_labels_are_cut(casebook: Casebook) -> None:
    cut = score(casebook, Popularity, start=210, end=211, labels_before=day(215))
    none = score(casebook, Popularity, start=210, end=211, labels_before=LAST_START)

    assert 0 < cut["label"].sum() < score(casebook, Popularity, start=210, end=211)["label"].sum()
    assert not none["label"].any()


def test_the_share_that_was_to_be_observed_goes_with_each_campaign(casebook: Casebook, snapshot: Snapshot) -> None:
    """The fourth is over at the cut and the last is not."""
    numbers, cut = numbers_of(snapshot, "campaign"), day(CAMPAIGN_STARTS["last"] + 5)

    scores = score(casebook, Popularity, DecisionTree, start=150, end=211, labels_before=cut)

    found = dict(scores.select("campaign", "share").unique().iter_rows())
    assert found[numbers["fourth"]] == 1.0
    assert 0 < found[numbers["last"]] == ObservedUses(casebook).expected_share(numbers["last"], cut) < 1


def test_no_campaign_in_the_period(casebook: Casebook) -> None:
    assert score(casebook, Popularity, start=300, end=400).equals(pl.DataFrame(schema=SCORES_SCHEMA))


def test_the_first_campaign_is_scored_without_a_teacher(casebook: Casebook) -> None:
    fit = fit_as_of(Popularity, casebook, day(CAMPAIGN_STARTS["first"]), seed=0)

    assert (fit.rows, fit.positives) == (0, 0)
    assert score(casebook, Popularity, start=90, end=91)["score"].is_between(0, 0.01).all()


def test_a_fit_says_what_it_learned_from(casebook: Casebook, snapshot: Snapshot) -> None:
    first = numbers_of(snapshot, "campaign")["first"]

    fit = fit_as_of(Popularity, casebook, day(120), seed=0)

    assert (fit.rows, fit.positives) == (len(casebook.pairs(first)), casebook.labels(first, day(120)).sum())


def shop_of_uses(*uses: int, late: int = 0) -> Shop:
    """Campaigns of ten days, each after the other, of forty shoppers and one coupon, with so many uses each.

    ``late`` uses of the first campaign come in on day 35, long after it was over.
    """
    shop = Shop().coupon("V", "milk")
    shoppers = [f"S{number:02}" for number in range(40)]
    for number, shopper in enumerate(shoppers):
        shop.sell(shopper, day(-1 - number % 20), "milk" if number % 2 else "tea")
    for number, used in enumerate(uses):
        start = 12 * number
        shop.campaign(f"campaign {number}", day(start), day(start + 10), ["V"], shoppers)
        for shopper in shoppers[:used]:
            shop.redeem(shopper, "V", f"campaign {number}", day(start + 5))
    for shopper in shoppers[-late:] if late else []:
        shop.redeem(shopper, "V", "campaign 0", day(35))
    return shop


def test_fitted_anew_only_when_it_is_worth_it(tmp_path: Path, fits: list[tuple[str, float]]) -> None:
    """Uses known at the starts: 0, 0, 20, 22, 23, 24. More than a tenth more than at the last fit asks for another."""
    casebook = Casebook(shop_of_uses(0, 20, 2, 1, 1, 0).write(tmp_path / "shop"))

    score(casebook, Popularity, start=0, end=100)

    assert WORTH_REFITTING == 0.1
    assert fits == [("popularity", 0.0), ("popularity", 24.0), ("popularity", 48.0)]


def test_uses_that_come_in_later_do_not_say_when_to_fit(tmp_path: Path, fits: list[tuple[str, float]]) -> None:
    """Of the first campaign's ten uses nine are known only on day 35: at day 24 two are known, at day 36 eleven."""
    casebook = Casebook(shop_of_uses(1, 0, 0, 0, late=9).write(tmp_path / "shop"))

    score(casebook, Popularity, start=12, end=100)

    assert fits == [("popularity", 12.0), ("popularity", 36.0)]


def test_its_own_and_later_redemptions_do_not_move_a_score(
    algorithm: type[Algorithm], casebook: Casebook, tmp_path: Path
) -> None:
    shop = generated_shop()
    known = deepcopy(shop)
    start = day(CAMPAIGN_STARTS["fourth"])
    known.rows["redemptions"] = [row for row in shop.rows["redemptions"] if row["redeemed_at"] < start]
    assert len(known.rows["redemptions"]) < len(shop.rows["redemptions"])

    before = score(Casebook(known.write(tmp_path / "shop")), algorithm, start=180, end=181)
    after = score(casebook, algorithm, start=180, end=181)

    assert before.drop("label").equals(after.drop("label"))
    assert before["label"].sum() < after["label"].sum()


def test_all_algorithms_score_the_same_pairs_in_the_order_asked(casebook: Casebook) -> None:
    scores = score(casebook, *ALGORITHMS.values(), start=210, end=211)

    assert scores["algorithm"].unique(maintain_order=True).to_list() == list(ALGORITHMS)
    assert scores.group_by("algorithm").len()["len"].n_unique() == 1


def test_stops_when_asked_to(casebook: Casebook) -> None:
    class Stop(Progress):
        def report(self, message: str, done: int = 0, total: int | None = None) -> None:
            raise Cancelled

    with pytest.raises(Cancelled):
        score(casebook, Popularity, start=150, end=210, progress=Stop())
