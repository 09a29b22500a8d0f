"""How often what is claimed of many made-up campaigns is true. The tests ask a few, `make prove` and the table of the
docs as many as are claimed."""

from collections.abc import Iterator

import numpy as np
from scipy import stats

from recommender.ml.evaluation.bootstrap import Estimate
from recommender.ml.incrementality import (
    Effect,
    Verdict,
    check_balance,
    check_sample_ratio,
    check_shares,
    confidence_sequence,
    judge,
    measure_bought_anyway,
    measure_effect,
)
from recommender.ml.incrementality.sample_ratio import FALSE_ALARMS
from tests.ml.incrementality.shops import DISCOUNT, Shop, run_arriving, run_campaign, run_daily, spend

DAYS = 28

#: The shops of the table: what makes intervals hard is few held out, unequal shoppers and rare purchases.
SHOPS = {
    "a usual shop": Shop(),
    "one of 20 held out": Shop(shoppers=6_000, holdout=0.05),
    "very unequal shoppers": Shop(shoppers=6_000, shape=0.3),
    "rare purchases": Shop(shoppers=6_000, orders=0.05, extra=0.02),
    "no effect": Shop(extra=0.0, habit=0.0),
}


def acceptance_band(simulations: int, nominal: float = 0.95, errors: float = 1e-3) -> tuple[float, float]:
    """Between which shares the truth is covered when it is covered with the nominal chance, but for these errors."""
    low, high = stats.binom.ppf([errors / 2, 1 - errors / 2], simulations, nominal) / simulations
    return float(low), float(high)


def measure_coverage(shop: Shop, simulations: int, seed: int) -> dict[str, float]:
    """In which share of campaigns each interval holds the truth, and how wide CUPED's is beside the plain one's."""
    held: dict[str, list[bool]] = {}
    narrower: list[float] = []
    for random in generators(simulations, seed):
        campaign = run_campaign(shop, random)
        truth = {
            "purchases": (campaign.purchases, shop.incremental_purchases),
            "revenue": (campaign.revenue, shop.incremental_revenue),
            "margin": (campaign.margin, shop.incremental_margin),
        }
        for name, (outcome, true) in truth.items():
            plain = measure_effect(campaign.treated, outcome)
            cuped = measure_effect(campaign.treated, outcome, campaign.spend_before)
            held.setdefault(f"{name}, difference in means", []).append(covers(plain, true))
            held.setdefault(f"{name}, CUPED", []).append(covers(cuped, true))
            if name == "revenue":
                narrower.append(cuped.standard_error / plain.standard_error)
        if shop.uses:
            anyway = measure_bought_anyway(
                campaign.treated,
                uses=campaign.uses,
                discount=campaign.discount,
                purchases=campaign.purchases,
                before=campaign.spend_before,
            )
            true = campaign.treated.sum() * shop.uses_anyway
            held.setdefault("uses anyway", []).append(within(anyway.uses_anyway, true))
            held.setdefault("money anyway", []).append(within(anyway.discount_anyway, DISCOUNT * true))
    return {name: float(np.mean(each)) for name, each in held.items()} | {"width": float(np.mean(narrower))}


def measure_looking(shop: Shop, simulations: int, seed: int, *, once: bool = False) -> dict[str, float]:
    """How often an interval was wrong at any of the daily looks, and how often a verdict was.

    Args:
        once: whether it only counts if a shopper ordered at all: who ordered on one day is not counted on the next.
    """
    wrong = {
        "confidence sequence": 0,
        "confidence sequence, CUPED": 0,
        "95 % interval": 0,
        "verdict": 0,
        "at the end": 0,
    }
    for random in generators(simulations, seed):
        treated, before, to_date = run_daily(shop, DAYS, random)
        missed = dict.fromkeys(wrong, False)
        for day, orders in enumerate(to_date, start=1):
            share = day / DAYS
            orders = np.minimum(orders, 1) if once else orders  # noqa: PLW2901
            plain, cuped = measure_effect(treated, orders), measure_effect(treated, orders, before)
            if plain.value is None or not plain.standard_error or not cuped.standard_error:
                continue
            true = shop.effect_to_date(share, once=once)
            sequence = confidence_sequence(plain, share)
            of_cuped = confidence_sequence(cuped, share)
            missed["confidence sequence"] |= not sequence[0] <= true <= sequence[1]
            missed["confidence sequence, CUPED"] |= not of_cuped[0] <= true <= of_cuped[1]
            missed["95 % interval"] |= not covers(plain, true)
            missed["at the end"] = not covers(plain, true)
            verdict = judge(cuped, of_cuped)
            missed["verdict"] |= (verdict == Verdict.MORE and true <= 0) or (verdict == Verdict.LESS and true >= 0)
        for name, was_wrong in missed.items():
            wrong[name] += was_wrong
    return {name: count / simulations for name, count in wrong.items()}


def measure_arriving(shop: Shop, simulations: int, seed: int) -> dict[str, float]:
    """As :func:`measure_looking`, in an experiment: shoppers come in while it runs, and count since they did."""
    wrong = {"confidence sequence": 0, "confidence sequence, CUPED": 0, "95 % interval": 0, "verdict": 0}
    for random in generators(simulations, seed):
        treated, before, to_date, served = run_arriving(shop, DAYS, random)
        missed = dict.fromkeys(wrong, False)
        for day, (orders, since) in enumerate(zip(to_date, served, strict=True), start=1):
            came = since >= 1
            plain = measure_effect(treated[came], orders[came])
            cuped = measure_effect(treated[came], orders[came], before[came])
            if plain.value is None or not plain.standard_error or not cuped.standard_error:
                continue
            true = shop.extra * since[came].mean() / DAYS
            sequence, of_cuped = confidence_sequence(plain, day / DAYS), confidence_sequence(cuped, day / DAYS)
            missed["confidence sequence"] |= not sequence[0] <= true <= sequence[1]
            missed["confidence sequence, CUPED"] |= not of_cuped[0] <= true <= of_cuped[1]
            missed["95 % interval"] |= not covers(plain, true)
            verdict = judge(cuped, of_cuped)
            missed["verdict"] |= (verdict == Verdict.MORE and true <= 0) or (verdict == Verdict.LESS and true >= 0)
        for name, was_wrong in missed.items():
            wrong[name] += was_wrong
    return {name: count / simulations for name, count in wrong.items()}


def measure_shares(simulations: int, seed: int, *, lost: float = 0.0, arms: int = 2, daily: int = 500) -> float:
    """How often a mismatch of the arms is told at any of the daily looks, when a share of the last arm's shoppers is
    lost."""
    shares = np.full(arms, 1 / arms)
    told = []
    for random in generators(simulations, seed):
        came = random.multinomial(daily, shares, DAYS)
        came[:, -1] = random.binomial(came[:, -1], 1 - lost)
        told.append(any(check_shares(counts, shares) < FALSE_ALARMS for counts in np.cumsum(came, axis=0)))
    return float(np.mean(told))


def measure_sample_ratio(simulations: int, seed: int, *, shoppers: int = 20_000, lost: float = 0.0) -> float:
    """How often a mismatch is told when a share of the held out is lost."""
    random = np.random.default_rng(seed)
    held_out = random.binomial(shoppers, 0.1, simulations)
    left = random.binomial(held_out, 1 - lost)
    sizes, times = np.unique(np.column_stack([shoppers - held_out, left]), axis=0, return_counts=True)
    told = [check_sample_ratio(treated=int(t), held_out=int(h), expected_share=0.1).mismatch for t, h in sizes]
    return float(times @ told / simulations)


def measure_balance(shop: Shop, simulations: int, seed: int, *, level: float, unlike: float = 1.0) -> float:
    """How often drawn groups are said to have differed before, or groups of which one spent so many times as much."""
    told = []
    for random in generators(simulations, seed):
        rate = random.gamma(shop.shape, shop.orders / shop.shape, shop.shoppers)
        treated = random.random(shop.shoppers) >= shop.holdout
        spent = spend(random.poisson(np.where(treated, unlike, 1.0) * rate), random)
        p_value = check_balance(treated, spent, seed=int(random.integers(2**32)))
        told.append(p_value is not None and p_value < level)
    return float(np.mean(told))


def generators(simulations: int, seed: int) -> Iterator[np.random.Generator]:
    return (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(simulations))


def covers(effect: Effect, true: float) -> bool:
    low, high = effect.interval()
    return low <= true <= high


def within(estimate: Estimate, true: float) -> bool:
    return estimate.low <= true <= estimate.high
