"""How often what is claimed of uplift and of policies is true in made-up shops."""

import numpy as np
from sklearn.linear_model import LinearRegression

from recommender.ml.uplift import (
    PolicyValue,
    UpliftModel,
    evaluate_uplift,
    predict_outcomes,
    value_by_doubly_robust,
    value_by_inverse_propensity,
)
from recommender.ml.uplift.models import default_classifier, expected, fit_clone
from tests.ml.incrementality.proofs import generators
from tests.ml.uplift.shops import MARGIN, Drawn, draw_shoppers

TREATED_SHARE = 0.8
SENT_SHARE = 0.2
#: Features of the outcome model, which is wrong on purpose: the shop is not linear.
WRONG_MODEL = LinearRegression()


def first(score: np.ndarray, share: float = SENT_SHARE) -> np.ndarray:
    """(n,): whether a shopper is among the share with the highest scores."""
    chosen = np.zeros(len(score), dtype=bool)
    chosen[np.argsort(-score, kind="stable")[: round(share * len(score))]] = True
    return chosen


def measure_targeting(model: type[UpliftModel], simulations: int, seed: int, *, shoppers: int = 20_000) -> np.ndarray:
    """(simulations, 3): true incremental margin of sending to a fifth of other shoppers, for each 100 of all: by
    uplift, by likelihood, and by the truth."""
    found = []
    for number, random in enumerate(generators(simulations, seed)):
        past, later = draw_shoppers(shoppers, random), draw_shoppers(shoppers, random)
        uplift = fit_on(model, past, number).predict(later.X)
        likely = fit_clone(default_classifier(), past.X[past.treated], past.used[past.treated], number)
        found.append(
            [
                100 * (later.incremental_margin * first(score)).mean()
                for score in (uplift, expected(likely, later.X), later.incremental_margin)
            ]
        )
    return np.array(found)


def fit_on(model: type[UpliftModel], past: Drawn, seed: int) -> UpliftModel:
    """Fitted on the margin; class transformation, which learns 0 and 1 only, on purchases."""
    outcome = past.bought if model.name == "class_transformation" else past.margin
    return model().fit(past.X, past.treated, outcome, propensity=TREATED_SHARE, seed=seed)


def measure_policies(simulations: int, seed: int, *, shoppers: int = 2_000) -> dict[str, float]:
    """In which share of campaigns the interval of a policy's value holds the truth, and how wide doubly robust is.

    The policy sends to the curious with a chance that rises with their curiosity.
    """
    truth = _true_value(np.random.default_rng(seed))
    held: dict[str, list[bool]] = {"inverse propensity": [], "doubly robust, wrong model": []}
    widths = []
    for number, random in enumerate(generators(simulations, seed)):
        shop = draw_shoppers(shoppers, random, treated_share=TREATED_SHARE)
        chance = _policy(shop)
        logged = np.where(shop.treated, TREATED_SHARE, 1 - TREATED_SHARE)
        as_logged = np.where(shop.treated, chance, 1 - chance)
        weighted = value_by_inverse_propensity(shop.margin, logged, as_logged)
        predicted = predict_outcomes(
            shop.X, shop.treated.astype(int), shop.margin, actions=(0, 1), estimator=WRONG_MODEL, seed=number
        )
        robust = value_by_doubly_robust(
            shop.margin,
            logged,
            as_logged,
            predicted=predicted[np.arange(shoppers), shop.treated.astype(int)],
            predicted_policy=chance * predicted[:, 1] + (1 - chance) * predicted[:, 0],
        )
        held["inverse propensity"].append(holds(weighted, truth))
        held["doubly robust, wrong model"].append(holds(robust, truth))
        widths.append(np.diff(robust.interval())[0] / np.diff(weighted.interval())[0])
    return {name: float(np.mean(each)) for name, each in held.items()} | {"width": float(np.mean(widths))}


def measure_qini(simulations: int, seed: int, *, shoppers: int = 3_000) -> dict[str, float]:
    """In which share of campaigns the bootstrap interval of a useless order's Qini holds 0, of the best one's is above
    it, and of the effect holds the true effect."""
    found: dict[str, list[bool]] = {"useless order": [], "best order": [], "effect": []}
    true = float(draw_shoppers(1_000_000, np.random.default_rng(seed)).incremental_purchases.mean())
    for number, random in enumerate(generators(simulations, seed)):
        shop = draw_shoppers(shoppers, random, treated_share=TREATED_SHARE)
        told = {"propensity": TREATED_SHARE, "resamples": 200, "seed": number}
        useless = evaluate_uplift(shop.X[:, 2], shop.treated, shop.bought, **told)
        best = evaluate_uplift(shop.incremental_purchases, shop.treated, shop.bought, **told)
        found["useless order"].append(useless.qini.low <= 0 <= useless.qini.high)
        found["best order"].append(best.qini.low > 0)
        found["effect"].append(best.effect.low <= true <= best.effect.high)
    return {name: float(np.mean(each)) for name, each in found.items()}


def _policy(shop: Drawn) -> np.ndarray:
    return 0.9 / (1 + np.exp(-2 * shop.X[:, 1]))


def _true_value(random: np.random.Generator) -> float:
    """By the shop's own chances, of so many shoppers that what is left of chance does not count."""
    shop = draw_shoppers(4_000_000, random)
    without = shop.likelihood - shop.incremental_purchases
    return float((MARGIN * without + _policy(shop) * shop.incremental_margin).mean())


def holds(value: PolicyValue, true: float) -> bool:
    low, high = value.interval()
    return low <= true <= high
