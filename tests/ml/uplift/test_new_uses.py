"""Whose uses are new: learned from drawn groups of made-up shops, and what lists bring that go by it."""

from dataclasses import replace

import numpy as np
import pytest

from recommender.ml.uplift import DrawnCampaign, NewUses, NotRandomised, judge_new_uses
from tests.ml.uplift.proofs import first
from tests.ml.uplift.shops import DISCOUNT, MARGIN, Drawn, draw_shoppers

CHANCE = 0.8
SHOPPERS = 5_000


def campaign_of(shop: Drawn) -> DrawnCampaign:
    return DrawnCampaign(X=shop.X, treated=shop.treated, purchases=shop.bought, uses=shop.used, chance=CHANCE)


def draw(seed: int, shoppers: int = SHOPPERS) -> Drawn:
    return draw_shoppers(shoppers, np.random.default_rng(seed), treated_share=CHANCE)


@pytest.fixture(scope="module")
def taught() -> NewUses:
    return NewUses().fit([campaign_of(draw(1)), campaign_of(draw(2))], seed=0)


def test_the_shares_are_near_the_truth(taught: NewUses) -> None:
    shop = draw(3, 50_000)
    true, told = shop.incremental_purchases / shop.likelihood, taught.predict(shop.X)
    assert (np.diff(taught.shares_) >= 0).all()
    assert ((told >= 0) & (told <= 1)).all()
    # Of all together, and of those of whom the same is said: by their uses.
    assert taught.share_ == pytest.approx(np.average(true, weights=shop.likelihood), abs=0.05)
    for share in np.unique(told):
        group = told == share
        assert share == pytest.approx(np.average(true[group], weights=shop.likelihood[group]), abs=0.15)
    assert np.ptp(told) > 0.3


def test_by_what_is_new_more_margin_is_earned_than_by_what_is_used(taught: NewUses) -> None:
    shop = draw(4, 50_000)
    new = taught.predict(shop.X)
    by_new = shop.likelihood * (new * (MARGIN - DISCOUNT) - (1 - new) * DISCOUNT)
    by_margin = shop.likelihood * (MARGIN - DISCOUNT)
    earned = [(shop.incremental_margin * first(score)).sum() for score in (by_new, by_margin)]
    best = (shop.incremental_margin * first(shop.incremental_margin)).sum()
    assert earned[1] < 0 < 0.8 * best < earned[0] <= best


def test_a_later_campaign_says_whether_shares_are_anybodys_own() -> None:
    campaigns = [campaign_of(draw(7)), campaign_of(draw(8))]
    assert judge_new_uses(campaigns, seed=0).qini.low > 0
    # Where nothing that is known tells shoppers apart, an order of them is none.
    unknown = [replace(each, X=each.X[:, 2:]) for each in campaigns]
    assert judge_new_uses(unknown, seed=0).qini.low <= 0


def test_it_is_the_same_again() -> None:
    campaign, X = campaign_of(draw(1, 1_500)), draw(3, 1_500).X
    first, again = (NewUses().fit([campaign], seed=0).predict(X) for _time in range(2))
    assert np.array_equal(first, again)


def test_campaigns_that_drew_nobody_or_sold_nothing_teach_nothing() -> None:
    campaign = campaign_of(draw(1, 1_000))
    with pytest.raises(NotRandomised):
        NewUses().fit([replace(campaign, treated=np.ones(1_000, dtype=bool))], seed=0)
    with pytest.raises(ValueError, match="Nobody used a coupon"):
        NewUses().fit([replace(campaign, uses=np.zeros(1_000))], seed=0)
