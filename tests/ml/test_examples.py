"""Past campaigns as examples: who was offered what, as of when, and what they used."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recommender.ml.algorithms.popularity import CouponPopularity
from recommender.ml.examples import Casebook
from tests.ml.shops import Shop, day, numbers_of

INPUTS = CouponPopularity()


@pytest.fixture
def shop() -> Shop:
    """Two campaigns of ten days and one to come. Ann and bob were sent them; cem was held out of the first."""
    shop = Shop().coupon("V", "milk").coupon("W", "tea")
    for number, shopper in enumerate(("ann", "bob", "cem")):
        shop.sell(shopper, day(-5 - number), "milk")
    shop.sell("ann", day(15), "tea")
    shop.campaign("first", day(0), day(10), ["V", "W"], ["ann", "bob"], control=["cem"])
    shop.campaign("second", day(20), day(30), ["V"], ["ann", "cem"])
    shop.campaign("third", day(40), day(50), ["W"], ["ann"])
    shop.redeem("ann", "V", "first", day(5)).redeem("bob", "W", "first", day(25))
    shop.redeem("cem", "W", "first", day(6)).redeem("ann", "W", None, day(7))
    return shop.redeem("cem", "V", "second", day(21))


def named(casebook: Casebook, campaign: str) -> list[tuple[str, str]]:
    """The pairs of a campaign by identifiers."""
    shoppers, coupons = (
        {number: name for name, number in numbers_of(casebook.snapshot, thing).items()}
        for thing in ("shopper", "coupon")
    )
    pairs = casebook.pairs(number_of(casebook, campaign))
    return [(shoppers[shopper], coupons[coupon]) for shopper, coupon in pairs.select("shopper", "coupon").iter_rows()]


def number_of(casebook: Casebook, campaign: str) -> int:
    return numbers_of(casebook.snapshot, "campaign")[campaign]


def test_every_treated_shopper_with_every_coupon(shop: Shop, tmp_path: Path) -> None:
    casebook = Casebook(shop.write(tmp_path / "shop"))

    assert named(casebook, "first") == [("ann", "V"), ("ann", "W"), ("bob", "V"), ("bob", "W")]
    assert named(casebook, "second") == [("ann", "V"), ("cem", "V")]


def test_control_shoppers_are_no_examples(shop: Shop, tmp_path: Path) -> None:
    """What they used counts for nothing either: it was not offered to them."""
    casebook = Casebook(shop.write(tmp_path / "shop"))

    assert "cem" not in {shopper for shopper, _ in named(casebook, "first")}
    assert casebook.labels(number_of(casebook, "first"), day(99)).sum() == 2


def test_what_a_published_run_offered_stands_for_the_campaign(shop: Shop, tmp_path: Path) -> None:
    shop.offer("second", "bob", "W", day(18), rank=1).offer("second", "ann", "V", day(18), rank=2)
    casebook = Casebook(shop.write(tmp_path / "shop"))

    assert named(casebook, "second") == [("ann", "V"), ("bob", "W")]
    assert named(casebook, "first") == [("ann", "V"), ("ann", "W"), ("bob", "V"), ("bob", "W")]
    assert casebook.decided_at(number_of(casebook, "second")) == day(18)
    assert casebook.decided_at(number_of(casebook, "first")) == day(0)


def test_later_publications_say_nothing_of_the_first_decision(shop: Shop, tmp_path: Path) -> None:
    """What is offered in their place was chosen by what had come of the first."""
    shop.offer("second", "ann", "V", day(18)).offer("second", "bob", "W", day(19))
    casebook = Casebook(shop.write(tmp_path / "shop"))

    assert named(casebook, "second") == [("ann", "V")]
    assert casebook.decided_at(number_of(casebook, "second")) == day(18)


def test_what_is_published_once_the_campaign_is_over_is_no_offer(shop: Shop, tmp_path: Path) -> None:
    shop.offer("first", "bob", "W", day(10))
    casebook = Casebook(shop.write(tmp_path / "shop"))

    assert named(casebook, "first") == [("ann", "V"), ("ann", "W"), ("bob", "V"), ("bob", "W")]
    assert casebook.decided_at(number_of(casebook, "first")) == day(0)


def test_pairs_are_described_as_of_their_decision(shop: Shop, tmp_path: Path) -> None:
    """Tea was bought on day 15: unknown at the start of the first campaign, known when the second was published."""
    shop.offer("second", "bob", "W", day(18))
    casebook = Casebook(shop.write(tmp_path / "shop"))

    assert casebook.described(INPUTS, number_of(casebook, "first"))["buyers"].to_list() == [3.0, 0.0, 3.0, 0.0]
    assert casebook.described(INPUTS, number_of(casebook, "second"))["buyers"].to_list() == [1.0]


def test_labels_are_the_uses_known_by_then(shop: Shop, tmp_path: Path) -> None:
    """In the order of the pairs; a use without a campaign, or in another one, labels nothing."""
    casebook = Casebook(shop.write(tmp_path / "shop"))
    first = number_of(casebook, "first")

    assert casebook.labels(first, day(5)).tolist() == [False, False, False, False]
    assert casebook.labels(first, day(20)).tolist() == [True, False, False, False]
    assert casebook.labels(first, day(26)).tolist() == [True, False, False, True]


def test_a_campaign_teaches_once_it_is_over(shop: Shop, tmp_path: Path) -> None:
    casebook = Casebook(shop.write(tmp_path / "shop"))
    first, second = number_of(casebook, "first"), number_of(casebook, "second")

    assert casebook.teaching(day(10)) == []  # it lasts until then
    assert casebook.teaching(day(20)) == [first]
    assert casebook.teaching(day(30)) == [first]
    assert casebook.teaching(day(45)) == [first, second]


def test_a_campaign_that_offered_nothing_teaches_nothing(shop: Shop, tmp_path: Path) -> None:
    shop.campaign("without shoppers", day(1), day(2), ["V"], []).campaign(
        "without coupons", day(1), day(2), [], ["ann"]
    )
    casebook = Casebook(shop.write(tmp_path / "shop"))

    assert casebook.teaching(day(20)) == [number_of(casebook, "first")]


def test_examples_are_all_that_was_taught_by_then(shop: Shop, tmp_path: Path) -> None:
    casebook = Casebook(shop.write(tmp_path / "shop"))

    examples = casebook.examples(INPUTS, day(45))

    assert examples is not None
    first, second = (casebook.described(INPUTS, number_of(casebook, name)) for name in ("first", "second"))
    assert examples.inputs.equals(pl.concat([first, second]))
    np.testing.assert_array_equal(examples.labels, [True, False, False, True, False, True])
    np.testing.assert_array_equal(examples.campaigns, [0, 0, 0, 0, 1, 1])


def test_no_campaign_no_examples(shop: Shop, tmp_path: Path) -> None:
    assert Casebook(shop.write(tmp_path / "shop")).examples(INPUTS, day(5)) is None


@pytest.fixture
def crowd() -> Shop:
    """A campaign of two coupons that ten were sent, of whom every other one used the first, and a small one."""
    shop = Shop().coupon("V", "milk").coupon("W", "tea")
    names = [f"s{number}" for number in range(10)]
    for name in names:
        shop.sell(name, day(-5), "milk")
        shop.sell(name, day(-4), "tea")
    shop.campaign("large", day(0), day(10), ["V", "W"], names).campaign("small", day(0), day(10), ["W"], ["s9"])
    for name in names[::2]:
        shop.redeem(name, "V", "large", day(5))
    return shop


def test_of_a_large_campaign_some_shoppers_are_read_with_all_their_pairs(crowd: Shop, tmp_path: Path) -> None:
    snapshot = crowd.write(tmp_path / "shop")
    casebook = Casebook(snapshot, most_pairs=9)
    large = number_of(casebook, "large")

    drawn = ("s0", "s3", "s6", "s9")
    assert named(casebook, "large") == [(shopper, coupon) for shopper in drawn for coupon in ("V", "W")]
    assert named(casebook, "small") == [("s9", "W")]
    assert casebook.labels(large, day(20)).tolist() == [True, False, False, False, True, False, False, False]
    assert casebook.shoppers(large) == 10
    assert (scored := casebook.scored(INPUTS, large)).shoppers == 10 and scored.size == 20
    assert named(Casebook(snapshot, most_pairs=20), "large") == named(Casebook(snapshot), "large")


def test_of_a_large_publication_too(crowd: Shop, tmp_path: Path) -> None:
    for number in range(10):
        crowd.offer("large", f"s{number}", "V", day(1)).offer("large", f"s{number}", "W", day(2))
    casebook = Casebook(crowd.write(tmp_path / "shop"), most_pairs=3)

    assert named(casebook, "large") == [("s0", "V"), ("s4", "V"), ("s9", "V")]
    assert casebook.shoppers(number_of(casebook, "large")) == 10
    assert casebook.decided_at(number_of(casebook, "large")) == day(1)


def test_a_share_teaches_and_all_are_scored(crowd: Shop, tmp_path: Path) -> None:
    casebook = Casebook(crowd.write(tmp_path / "shop"), taught_share=0.4)

    examples = casebook.examples(INPUTS, day(20))

    assert examples is not None
    assert len(named(casebook, "large")) == 20
    assert examples.campaigns.tolist() == [0] * 8 + [1]
    assert examples.labels.tolist() == [True, False, False, False, True, False, False, False, False]
    assert examples.inputs.height == 9
