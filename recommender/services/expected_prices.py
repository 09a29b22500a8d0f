"""At which prices of money the lists of a run within a budget are looked at before anything of it is allocated.

An allocation lists for each shopper what is worth most beyond its cost at the price that the budget comes to have
(:mod:`recommender.ml.allocation`). Whoever chooses which pairs are scored at all has to expect that price.
"""

import numpy as np
import polars as pl

from recommender.ml import columns as c
from recommender.ml.allocation import CandidateBlock, Terms, draw_curve
from recommender.models import Run
from recommender.services.allocation import COST, NUMBER, USES, VALUE
from recommender.services.budgeting import BudgetTerms

#: Of the price that is expected: lists are looked at there, at these multiples of it, and where money has none.
PRICES_AROUND = (0.5, 1.0, 2.0)


def expect_prices(candidates: pl.DataFrame, terms: BudgetTerms, run: Run, *, shoppers: int) -> list[float] | None:
    """At which prices of a unit of cost the lists of a run are looked at before it is allocated: none, the one that its
    budget has among some of its shoppers, and those around it, which other budgets may have.

    Args:
        candidates: as :func:`find_candidates` finds them, of so many shoppers.

    Returns:
        None where lists follow from more than the price of one budget: coupons have limits of their own, or something
        is promised.
    """
    has_money = terms.cost_limit is not None or run.required_return is not None
    if not has_money or terms.cost_limits or terms.use_limits or terms.floor_segments or terms.seller_coupons:
        return None
    block = CandidateBlock(
        shopper=candidates[c.SHOPPER].to_numpy().astype(np.int64),
        coupon=candidates[NUMBER].to_numpy(),
        value=candidates[VALUE].to_numpy(),
        cost=candidates[COST].to_numpy(),
        uses=candidates[USES].to_numpy(),
    )
    free = Terms(coupons=len(terms.coupon_ids), most=run.top, groups=np.array(terms.groups, dtype=np.int64))
    curve = draw_curve(lambda: [block], free)
    spent = curve.worth_spending()
    if terms.cost_limit is not None:
        spent = min(spent, terms.cost_limit * shoppers / run.shopper_count)
    if run.required_return is not None:
        spent = min(spent, curve.most_at_return(terms.in_whole_units(run.required_return)))
    price = curve.marginal_return_at(spent)
    return sorted({0.0, *(price * times for times in PRICES_AROUND)})


def list_at_price(candidates: pl.DataFrame, terms: BudgetTerms, top: int, price: float) -> pl.DataFrame:
    """The candidates that would stand on the lists of their shoppers at a price of cost."""
    groups = pl.DataFrame(
        {NUMBER: range(len(terms.groups)), "group": terms.groups}, schema_overrides={NUMBER: pl.Int64}
    )
    return (
        candidates.join(groups, on=NUMBER, maintain_order="left")
        .with_columns((pl.col(VALUE) - price * pl.col(COST)).cast(pl.Float64).alias("left"))
        .filter(pl.col("left") > 0)
        .sort(c.SHOPPER, "left", "chance", descending=[False, True, False])
        .unique([c.SHOPPER, "group"], keep="first", maintain_order=True)
        .filter(pl.int_range(pl.len()).over(c.SHOPPER) < top)
        .drop("left", "group")
    )


def worth_at_price(terms: BudgetTerms, price: float) -> np.ndarray:
    """(coupons,): what a use of each is worth at a price of cost, beside the best of them; 0 where it costs more than
    it brings."""
    value = np.array(terms.value_per_use) * terms.value_unit
    cost = np.array([cost or 0.0 for cost in terms.cost_per_use]) * terms.cost_unit
    left = np.maximum(0.0, value - price * cost)
    return left / max(float(left.max()), np.finfo(float).tiny)
