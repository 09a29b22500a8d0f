"""Slices: who belongs to which is known at the decision, and the verdict is what the intervals say."""

from copy import deepcopy
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recommender.ml.evaluation import slices as module
from recommender.ml.evaluation.comparison import Comparison
from recommender.ml.evaluation.slices import (
    FACTS,
    JUDGED_BY,
    REPORTED,
    Slice,
    Verdict,
    compare_by_kind,
    evaluate_slices,
    pair_facts,
)
from recommender.ml.examples import Casebook
from recommender.progress import Cancelled, Progress
from tests.ml.shops import CAMPAIGN_STARTS, SHOPPERS, Shop, day, generated_shop, numbers_of

THRESHOLDS = {"champion": 0.5, "popularity": 0.5}


def facts_of(shop: Shop, folder: Path, campaign: str, thing: str, fact: str) -> dict[str, str]:
    """A fact of a campaign's shoppers or coupons, by their identifiers."""
    casebook = Casebook(shop.write(folder))
    facts = pair_facts(casebook, [numbers_of(casebook.snapshot, "campaign")[campaign]])
    names = {number: name for name, number in numbers_of(casebook.snapshot, thing).items()}
    found = facts.select(thing, fact).unique()
    assert found[thing].is_unique().all()
    return {names[number]: value for number, value in sorted(found.iter_rows())}


@pytest.fixture
def shop() -> Shop:
    """Ann buys daily, bob weekly, cem once, dan never; all are sent three coupons on day 30."""
    shop = Shop().coupon("Juice", "orange", offer="fruit").coupon("Tea", "green", "black").coupon("All")
    shop.product("green").product("black").product("soap")
    for shopper, days in (("ann", range(29)), ("bob", range(1, 29, 7)), ("cem", [20])):
        for number in days:
            shop.sell(shopper, day(number), "orange")
    shop.shopper("dan")
    return shop.campaign("now", day(30), day(40), ["Juice", "Tea", "All"], ["ann", "bob", "cem", "dan"])


def test_new_shoppers_have_few_orders(shop: Shop, tmp_path: Path) -> None:
    assert module.FEW_ORDERS == 5
    shop.sell("cem", day(30), "orange")  # the decision's own moment is too late
    for number in range(4):
        shop.sell("cem", day(10 + number), "orange")
    assert facts_of(shop, tmp_path / "shop", "now", "shopper", "experience") == {
        "ann": "known shoppers",
        "bob": "new shoppers",
        "cem": "known shoppers",
        "dan": "new shoppers",
    }


def test_thirds_by_frequency_fade_with_time_and_keep_equals_together(shop: Shop, tmp_path: Path) -> None:
    assert facts_of(shop, tmp_path / "shop", "now", "shopper", "frequency") == {
        "ann": "heavy buyers",
        "bob": "medium buyers",
        "cem": "medium buyers",
        "dan": "light buyers",
    }
    for shopper in ("eve", "fay"):  # two that never bought, beside dan: half of the six
        shop.campaign("now", day(30), day(40), [], [shopper])
    assert facts_of(shop, tmp_path / "larger", "now", "shopper", "frequency") == {
        "ann": "heavy buyers",
        "bob": "heavy buyers",
        "cem": "medium buyers",
        "dan": "light buyers",
        "eve": "light buyers",
        "fay": "light buyers",
    }


def test_where_nobody_ever_bought_all_are_in_the_middle(tmp_path: Path) -> None:
    shop = Shop().product("milk").coupon("V", "milk").campaign("now", day(5), day(9), ["V"], ["ann", "bob", "cem"])
    assert set(facts_of(shop, tmp_path / "shop", "now", "shopper", "frequency").values()) == {"medium buyers"}


def test_the_coupon_averse_were_sent_before_and_used_nothing(shop: Shop, tmp_path: Path) -> None:
    shop.campaign("before", day(0), day(10), ["Tea"], ["ann", "bob"], control=["cem"])
    shop.campaign("later", day(31), day(40), ["Tea"], ["dan"])
    shop.redeem("ann", "Tea", "before", day(5)).redeem("bob", "Juice", "now", day(31))
    assert facts_of(shop, tmp_path / "shop", "now", "shopper", "coupon_habit") == {
        "ann": "coupon users",
        "bob": "coupon-averse shoppers",
        "cem": "shoppers sent nothing before",
        "dan": "shoppers sent nothing before",
    }


def test_what_published_runs_offered_was_sent_too(shop: Shop, tmp_path: Path) -> None:
    shop.campaign("before", day(0), day(10), [], [])
    shop.offer("before", "cem", "Tea", day(1)).offer("now", "cem", "All", day(31)).offer("now", "dan", "Tea", day(31))
    assert facts_of(shop, tmp_path / "shop", "now", "shopper", "coupon_habit") == {
        "cem": "coupon-averse shoppers",
        "dan": "shoppers sent nothing before",
    }
    assert facts_of(shop, tmp_path / "again", "now", "coupon", "offer") == {
        "All": "new coupons",
        "Tea": "coupons sent before",
    }


def test_new_coupons_are_those_whose_offer_was_never_sent(shop: Shop, tmp_path: Path) -> None:
    shop.coupon("Older juice", "orange", offer="fruit").coupon("Soap", "soap")
    shop.campaign("before", day(0), day(10), ["Older juice", "Soap"], ["eve"])
    shop.campaign("later", day(31), day(40), ["Tea"], ["eve"])
    assert facts_of(shop, tmp_path / "shop", "now", "coupon", "offer") == {
        "All": "new coupons",
        "Juice": "coupons sent before",
        "Tea": "new coupons",
    }


def test_thirds_by_number_of_products(shop: Shop, tmp_path: Path) -> None:
    assert facts_of(shop, tmp_path / "shop", "now", "coupon", "breadth") == {
        "All": "broad coupons",
        "Juice": "narrow coupons",
        "Tea": "medium coupons",
    }


def test_kinds_are_the_shops_own_words(shop: Shop, tmp_path: Path) -> None:
    shop.things["campaigns"]["now"]["kind"] = "Loyalty letter"
    assert set(facts_of(shop, tmp_path / "shop", "now", "shopper", "kind").values()) == {"Loyalty letter"}
    shop.things["campaigns"]["now"]["kind"] = ""
    assert set(facts_of(shop, tmp_path / "other", "now", "shopper", "kind").values()) == {"no kind"}


def test_no_campaign_has_no_facts(casebook: Casebook) -> None:
    facts = pair_facts(casebook, [])
    assert facts.columns == ["campaign", "shopper", "coupon", *FACTS]
    assert facts.is_empty()


def test_every_pair_has_every_fact_once(casebook: Casebook) -> None:
    campaigns = casebook.campaigns["campaign"].to_list()
    facts = pair_facts(casebook, campaigns)

    assert facts.select("campaign", "shopper", "coupon").equals(pl.concat(map(casebook.pairs, campaigns)))
    assert facts.null_count().sum_horizontal().item() == 0
    assert facts["frequency"].unique().sort().to_list() == ["heavy buyers", "light buyers", "medium buyers"]


def test_nothing_later_moves_a_fact(tmp_path: Path) -> None:
    """Rows from the decision on, in every table that has a time: nothing of the pairs' facts changes."""
    start = CAMPAIGN_STARTS["fourth"]
    shop = generated_shop()
    later = deepcopy(shop)
    first, second, third = (f"S{number:02}" for number in range(3))
    for number in range(30):
        later.sell(first, day(start) + timedelta(minutes=number), "P01")
    later.redeem(second, "V-new", None, day(start)).event(third, "click", day(start), "V-new")
    later.campaign("later", day(start), day(start + 9), ["V-leaf-0", "V-new"], [first, second, third])
    later.offer("later", third, "V-new", day(start))

    found = []
    for number, each in enumerate((shop, later)):
        casebook = Casebook(each.write(tmp_path / str(number)))
        facts = pair_facts(casebook, [numbers_of(casebook.snapshot, "campaign")["fourth"]])
        found.append(facts.drop("campaign"))
    assert found[0].equals(found[1])

    earlier = deepcopy(shop)  # the same a moment earlier does move them
    for shopper in SHOPPERS:
        earlier.redeem(shopper, "V-new", None, day(start) - timedelta(seconds=1))
    casebook = Casebook(earlier.write(tmp_path / "earlier"))
    facts = pair_facts(casebook, [numbers_of(casebook.snapshot, "campaign")["fourth"]])
    assert set(facts["coupon_habit"]) == {"coupon users"} != set(found[0]["coupon_habit"])


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_thirds_are_of_equal_size_but_for_equals(values: list[int]) -> None:
    names = pl.DataFrame({"value": values}).select(
        "value", third=module._third(pl.col("value"), "lowest", "middle", "highest")
    )

    assert names["third"].is_in(["lowest", "middle", "highest"]).all()
    assert names.unique()["value"].is_unique().all()
    sizes = dict(names["third"].value_counts().iter_rows())
    lowest, highest = (names.filter(third=third)["value"].to_list() for third in ("lowest", "highest"))
    assert len(lowest) == sum(value <= max(lowest, default=-1) for value in values)
    assert len(highest) == sum(value >= min(highest, default=9) for value in values)
    mirrored = names.select(third=module._third(-pl.col("value"), "highest", "middle", "lowest"))
    assert mirrored["third"].equals(names["third"])
    if len(set(values)) == len(values):
        assert sizes.get("lowest", 0) == sizes.get("highest", 0) == (len(values) + 1) // 3


def scored(kinds: list[str], *, champion: float, popularity: float, shoppers: int = 90) -> tuple[pl.DataFrame, ...]:
    """Scores of two algorithms that know so much of the truth, and facts: one campaign of twelve coupons a kind."""
    random = np.random.default_rng(0)
    campaign, shopper, coupon = (
        part.ravel() for part in np.meshgrid(range(len(kinds)), range(shoppers), range(12), indexing="ij")
    )
    truth = random.random(len(campaign))
    label, noise = random.random(len(campaign)) < truth**4, random.random(len(campaign))
    pairs = pl.DataFrame({"campaign": campaign, "shopper": shopper, "coupon": coupon}).cast(pl.UInt32)
    scores = pl.concat(
        pairs.with_columns(
            pl.lit(name).alias("algorithm"),
            pl.Series("score", share * truth + (1 - share) * noise),
            pl.Series("label", label),
        )
        for name, share in (("champion", champion), ("popularity", popularity), ("another", 0.5))
    )
    third = pl.col("shopper") * 3 // shoppers
    return scores, pairs.with_columns(
        pl.when(pl.col("shopper") < 2).then(pl.lit("new shoppers")).otherwise(pl.lit("known shoppers")).alias(FACTS[0]),
        third.replace_strict({0: "light buyers", 1: "medium buyers", 2: "heavy buyers"}).alias("frequency"),
        pl.lit("shoppers sent nothing before").alias("coupon_habit"),
        pl.lit("new coupons").alias("offer"),
        (pl.col("coupon") // 4)
        .replace_strict({0: "narrow coupons", 1: "medium coupons", 2: "broad coupons"})
        .alias("breadth"),
        pl.col("campaign").replace_strict(dict(enumerate(kinds)), return_dtype=pl.String).alias("kind"),
    )


def evaluated(scores: pl.DataFrame, facts: pl.DataFrame) -> dict[str, Slice]:
    found = evaluate_slices(
        scores, facts, THRESHOLDS, candidate="champion", baseline="popularity", resamples=50, seed=0
    )
    assert len({each.name for each in found}) == len(found)
    return {each.name: each for each in found}


def test_each_slice_with_a_pair_is_compared_on_its_pairs_alone() -> None:
    found = evaluated(*scored(["A", "B", "A", "C"], champion=0.9, popularity=0.1))

    assert {name: each.comparison.pair_count for name, each in found.items()} == {
        "new shoppers": 2 * 12 * 4,
        "light buyers": 30 * 12 * 4,
        "heavy buyers": 30 * 12 * 4,
        "new coupons": 90 * 12 * 4,
        "narrow coupons": 90 * 4 * 4,
        "broad coupons": 90 * 4 * 4,
    }
    assert {name for _, name in REPORTED} - set(found) == {"coupon-averse shoppers"}
    assert all(list(each.comparison.estimates) == ["champion", "popularity"] for each in found.values())


def by_kind(kinds: list[str]) -> dict[str, Comparison]:
    scores, facts = scored(kinds, champion=0.9, popularity=0.1)
    return compare_by_kind(scores, facts, THRESHOLDS | {"another": 0.5}, resamples=20, seed=0)


def test_kinds_are_compared_apart_and_all_but_the_largest_together() -> None:
    found = by_kind(["A", "B", "A", "C"])

    counts = {name: (each.campaign_count, each.pair_count) for name, each in found.items()}
    size = 90 * 12
    assert counts == {"A": (2, 2 * size), "B": (1, size), "C": (1, size), "all but A": (2, 2 * size)}
    assert all(list(each.estimates) == ["another", "champion", "popularity"] for each in found.values())
    assert found["all but A"].redemption_count == found["B"].redemption_count + found["C"].redemption_count


def test_two_kinds_have_no_rest_and_one_is_nothing_to_tell_apart() -> None:
    assert list(by_kind(["B", "A"])) == ["A", "B"]
    assert by_kind(["A", "A"]) == {}


def test_the_verdict_is_what_the_intervals_say() -> None:
    better = evaluated(*scored(["A"], champion=0.9, popularity=0.1))["new coupons"]
    worse = evaluated(*scored(["A"], champion=0.1, popularity=0.9))["new coupons"]
    same = evaluated(*scored(["A"], champion=0.5, popularity=0.5))["new coupons"]

    assert (better.verdict, worse.verdict, same.verdict) == (
        Verdict.BETTER,
        Verdict.WORSE,
        Verdict.NO_CLEAR_DIFFERENCE,
    )
    for metric in JUDGED_BY:
        gain = better.gain(metric)
        assert 0 < gain.low < gain.value < gain.high
        assert worse.gain(metric).high < 0
        assert same.gain(metric).low == same.gain(metric).high == 0


@pytest.mark.parametrize(
    ("signs", "verdict"),
    [
        ((1, 0, 0), Verdict.BETTER_BY_SOME),
        ((1, 1, 1), Verdict.BETTER),
        ((1, 1, -1), Verdict.WORSE),
        ((0, 0, -1), Verdict.WORSE),
        ((0, 0, 0), Verdict.NO_CLEAR_DIFFERENCE),
    ],
)
def test_one_metric_that_is_worse_outweighs_the_others(
    monkeypatch: pytest.MonkeyPatch, signs: tuple[int, ...], verdict: Verdict
) -> None:
    gains = {
        metric: module.Estimate(float(sign), sign - 0.5, sign + 0.5)
        for metric, sign in zip(JUDGED_BY, signs, strict=True)
    }
    monkeypatch.setattr(Slice, "gain", lambda self, metric: gains[metric])
    each = evaluated(*scored(["A"], champion=0.5, popularity=0.5))["new coupons"]

    assert each.verdict == verdict


def test_few_redemptions_are_reported_and_not_judged() -> None:
    scores, facts = scored(["A"], champion=0.9, popularity=0.1)
    used = scores.filter(pl.col("label") & (pl.col("algorithm") == "champion")).head(module.ENOUGH_REDEMPTIONS)
    for number, verdict in ((29, Verdict.NOT_JUDGED), (30, Verdict.BETTER)):
        labels = used.head(number).select("campaign", "shopper", "coupon", label=True)
        some = scores.drop("label").join(labels, on=["campaign", "shopper", "coupon"], how="left")
        found = evaluated(some.with_columns(pl.col("label").fill_null(False)), facts)["new coupons"]

        assert found.comparison.redemption_count == number
        assert found.verdict == verdict
        assert found.gain("roc_auc").value > 0


def test_nothing_redeemed_is_undefined_and_not_wrong() -> None:
    scores, facts = scored(["A"], champion=0.9, popularity=0.1)
    found = evaluated(scores.with_columns(label=pl.lit(False)), facts)

    assert {each.verdict for each in found.values()} == {Verdict.NOT_JUDGED}
    assert found["new coupons"].gain("roc_auc").value is None


def test_stops_when_asked_to() -> None:
    class Stop(Progress):
        def report(self, message: str, done: int = 0, total: int | None = None) -> None:
            raise Cancelled

    scores, facts = scored(["A"], champion=0.9, popularity=0.1)
    with pytest.raises(Cancelled):
        evaluate_slices(
            scores,
            facts,
            THRESHOLDS,
            candidate="champion",
            baseline="popularity",
            resamples=5,
            seed=0,
            progress=Stop(),
        )
