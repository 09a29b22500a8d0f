"""Value against spend, beside the relaxed optimum at several budgets."""

from dataclasses import replace

import numpy as np
import pytest

from recommender.ml.allocation import MICRO, CandidateBlock, Resource, Terms, allocate, draw_curve
from tests.ml.allocation.instances import Shop, relaxed_optimum, tightened, whole


def test_the_best_offers_are_paid_for_first() -> None:
    value, cost = np.array([6, 4, 2]), np.array([1, 2, 4])
    block = CandidateBlock(
        shopper=np.arange(3),
        coupon=np.zeros(3, dtype=np.int64),
        value=value * MICRO,
        cost=cost * MICRO,
        uses=np.full(3, MICRO),
    )

    curve = draw_curve(lambda: [block], Terms(coupons=1, most=1, limits={Resource.COST: 0}), points=40)

    spend = [0, 0.5, 1, 3, 5, 7, 9]
    assert [curve.value_at(each * MICRO) / MICRO for each in spend] == pytest.approx(
        [0, 3, 6, 10, 11, 12, 12], abs=1e-5
    )
    assert [curve.marginal_return_at(each * MICRO) for each in (0.5, 2, 5, 9)] == [6, 2, 0.5, 0]
    assert curve.worth_spending() == 7 * MICRO
    assert curve.worth_spending(2) == 3 * MICRO
    assert curve.worth_spending(7) == 0
    assert curve.most_at_return(2.2) == pytest.approx(5 * MICRO, abs=5)
    assert curve.most_at_return(1) == 7 * MICRO
    assert curve.most_at_return(6.1) == pytest.approx(0, abs=50)  # equals are told apart by millionths


def test_of_nothing_there_is_no_curve() -> None:
    curve = draw_curve(list, Terms(coupons=1, most=1))

    assert len(curve.cost) == 0
    assert (curve.value_at(5), curve.marginal_return_at(5), curve.worth_spending(), curve.most_at_return(1)) == (0,) * 4


@pytest.mark.parametrize("sampled", [False, True])
def test_the_curve_lies_on_the_relaxed_optimum_and_lists_reach_it(
    sampled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sampled:
        monkeypatch.setattr("recommender.ml.allocation.prices.SAMPLE_PAIRS", 8_000)
    shop = Shop(shoppers=4_000, coupons=6, seed=5, groups=3, spread=0.5)
    terms = tightened(shop, Terms(coupons=6, most=2, groups=shop.groups_of_coupons))
    curve = draw_curve(shop.blocks, terms)
    candidates = whole(shop.blocks, terms)

    assert (np.diff(curve.marginal_return) < 0).all()
    assert (np.diff(curve.value) >= 0).all()
    assert curve.marginal_return[-1] == 0
    for share in (0.1, 0.4, 0.8, 1.0):
        at_budget = replace(terms, limits={Resource.COST: int(share * curve.worth_spending())})
        optimum = relaxed_optimum(replace(candidates, terms=at_budget))
        budget = at_budget.limits[Resource.COST]
        assert 0.999999 * optimum <= curve.value_at(budget) <= (1.02 if sampled else 1.01) * optimum
        assert allocate(shop.blocks, at_budget).value.sum() >= 0.985 * curve.value_at(budget)
