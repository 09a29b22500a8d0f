"""How far what a model is shown has moved from what it learned from, input by input.

The values of an input are cut at the tenths of what was learned from, and the shares that fall between are compared by
the population stability index. A campaign differs from the others by itself, by its coupons and its shoppers, often by
far more than the 0.25 from which an index is called large. So the reference knows how far each of the campaigns learned
from lies from the others: only what lies further off than any of them has moved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from math import floor, log
from typing import NamedTuple

import numpy as np
import polars as pl

from recommender.ml import columns as c
from recommender.ml.contract import Inputs
from recommender.ml.examples import Casebook, ScoredPairs

#: Where the values of an input are cut: at its tenths.
CUTS = np.arange(1, 10) / 10
#: Pairs that the cuts are found on.
SAMPLE = 100_000
#: No share is taken for smaller: a bin that is empty on one side would make the index infinite.
LEAST_SHARE = 1e-4
#: Without a change the index of eleven bins is about chi-squared with 10 degrees of freedom, divided by the number of
#: independent draws (Yurdakul 2018). A shopper's pairs are not independent, so shoppers are counted: of 100 of them,
#: chance alone brings it above 0.25 five times of a thousand.
FEWEST_SHOPPERS = 100
#: From fewer campaigns it is not known how far campaigns differ by themselves.
FEWEST_CAMPAIGNS = 3


class LearnedInput(NamedTuple):
    """What an input was like in what a model learned from.

    Attributes:
        edges: n of them, ascending, in single precision.
        counts: n + 2: values up to and with each edge, values above the last, and values that are not a number.
        usual: the largest index of a campaign against all the others.
    """

    name: str
    edges: Sequence[float]
    counts: Sequence[int]
    usual: float


@dataclass(frozen=True)
class LearnedInputs:
    """What inputs were like in some campaigns, so many."""

    campaigns: int
    inputs: list[LearnedInput]


def measure_learned(inputs: Inputs, casebook: Casebook, moment: datetime, *, seed: int) -> dict[str, LearnedInputs]:
    """What a model's inputs are like in the campaigns that teach as of a moment, by kind of campaign and, under "", in
    all of them.

    Pairs are taken as a run scores them (:meth:`Casebook.scored`): none is left out because it was not used or not
    offered, and where a campaign's are a sample they count for all. Campaigns of fewer than :data:`FEWEST_SHOPPERS` say
    nothing, and there is nothing of a kind with fewer than :data:`FEWEST_CAMPAIGNS`.

    Args:
        seed: of the draw that the cuts are found on.
    """
    kinds = dict(casebook.campaigns.select(c.CAMPAIGN, c.KIND).iter_rows())
    scored = [(kinds[campaign], casebook.scored(inputs, campaign)) for campaign in casebook.teaching(moment)]
    enough = [(kind, pairs) for kind, pairs in scored if pairs.shoppers >= FEWEST_SHOPPERS]
    groups = {kind: [pairs for of, pairs in enough if of == kind] for kind, _pairs in enough if kind}
    groups[""] = [pairs for _kind, pairs in enough]
    return {
        kind: LearnedInputs(len(campaigns), _measure(campaigns, seed))
        for kind, campaigns in sorted(groups.items())
        if len(campaigns) >= FEWEST_CAMPAIGNS
    }


def _measure(campaigns: Sequence[ScoredPairs], seed: int) -> list[LearnedInput]:
    # Of each campaign in proportion to its size, so no more of the others than of one whose pairs stand for many.
    rate = min(SAMPLE / sum(pairs.size for pairs in campaigns), *(1 / pairs.weight for pairs in campaigns))
    drawn = pl.concat(pairs.inputs.sample(floor(rate * pairs.size), seed=seed) for pairs in campaigns)
    measured = []
    for name in drawn.columns:
        edges = cut(drawn[name].to_numpy())
        counts = [
            [round(pairs.weight * count) for count in _count(pairs.inputs[name].to_numpy(), edges)]
            for pairs in campaigns
        ]
        total = [sum(of_bin) for of_bin in zip(*counts, strict=True)]
        usual = max(population_stability_index(_without(total, of_one), of_one) for of_one in counts)
        measured.append(LearnedInput(name, edges, total, round(usual, 4)))
    return measured


def _without(total: Sequence[int], part: Sequence[int]) -> list[int]:
    return [whole - own for whole, own in zip(total, part, strict=True)]


def cut(values: np.ndarray) -> list[float]:
    """The edges between the tenths of float32 values, each once: fewer where tenths share a value.

    A value that several tenths share is cut off on both sides, so that a constant, or the 0 that an input mostly is,
    has a bin of its own.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return []
    tenths, times = np.unique(np.quantile(finite, CUTS, method="inverted_cdf"), return_counts=True)
    below = np.nextafter(tenths[times > 1], np.float32(-np.inf))
    # The shortest decimal that is the same number in single precision.
    return [float(str(edge)) for edge in np.unique(np.concatenate([tenths, below]))]


def count_inputs(inputs: pl.DataFrame, learned: Sequence[LearnedInput]) -> list[list[int]]:
    """How many of n pairs lie in each bin of each of the inputs that were learned from, in their order."""
    return [_count(inputs[each.name].to_numpy(), each.edges) for each in learned]


def _count(values: np.ndarray, edges: Sequence[float]) -> list[int]:
    """Counts as in :class:`LearnedInput`."""
    unknown = int(np.count_nonzero(np.isnan(values)))
    # Comparing with each edge in turn is several times faster than looking up each value's bin.
    above = [int(np.count_nonzero(values > np.float32(edge))) for edge in edges]
    at_least = [len(values) - unknown, *above, 0]
    return [more - fewer for more, fewer in pairwise(at_least)] + [unknown]


def add_counts(one: Sequence[Sequence[int]], other: Sequence[Sequence[int]]) -> list[list[int]]:
    """Counts of the same bins taken together. An empty sequence counts nothing yet."""
    if not one:
        return [list(counts) for counts in other]
    return [[first + second for first, second in zip(*both, strict=True)] for both in zip(one, other, strict=True)]


def population_stability_index(before: Sequence[int], after: Sequence[int]) -> float:
    """How far counts by bin have moved, whatever their sums, which are above 0: the sum of (q - p) ln(q / p) over the
    shares p before and q after, none taken for smaller than :data:`LEAST_SHARE`.

    It is the symmetric divergence of Jeffreys (1946). By convention a distribution is steady below 0.1 and has moved a
    lot above 0.25 (Siddiqi 2006, Credit Risk Scorecards).
    """
    total_before, total_after = sum(before), sum(after)
    index = 0.0
    for count_before, count_after in zip(before, after, strict=True):
        p, q = max(count_before / total_before, LEAST_SHARE), max(count_after / total_after, LEAST_SHARE)
        index += (q - p) * log(q / p)
    return index
