"""Proof against leaks by labels that mean nothing: whatever is learned or measured on them must be chance.

Labels are shuffled within their campaign, so that each campaign keeps its number of used offers. Campaigns differ in
how much they are used, and a shuffle leaves these rates as they are; so areas under the curve are measured in each
campaign by itself and averaged, and what is learned from has as many unused offers for each used one in every
campaign. Otherwise it would tell what campaigns that are used much have in common, such as shoppers who buy what their
coupons are for, and that is true of shoppers and coupons of later campaigns as well.

A shuffled training is far from chance by itself: it learns one direction among few that matter, and a shopper who buys
much is likelier to use any coupon, so that a random direction orders true labels very well or very badly. Only the mean
over many shuffles is chance, and it has a spread of its own. So the test is Student's t interval of the mean: K
shuffles are K independent values, and a leak, which lifts all of them alike, is many standard errors above one half
while a few lucky shuffles are not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from scipy import stats

from recommender.ml import columns as c
from recommender.ml.algorithms import Algorithm
from recommender.ml.algorithms.blend import Blend
from recommender.ml.contract import Inputs
from recommender.ml.evaluation.areas import Areas
from recommender.ml.evaluation.pairs import read_pairs
from recommender.ml.examples import Casebook
from recommender.ml.history import SCHEMAS, Snapshot
from recommender.ml.leaks import Occasion, describe, link_table, write_table

#: How often a check of an honest algorithm may fail by chance.
FALSE_ALARMS = 0.001
#: Examples that a shuffled training learns from, the used ones among them: more would make the same point.
MOST_EXAMPLES = 20_000
CHANCE = 0.5
#: An interval that reaches further from its mean than this finds gross leaks only.
WIDEST = 0.25


@dataclass(frozen=True)
class Chance:
    """The mean of K areas under the curve, with the interval that holds one half unless something leaks."""

    mean: float
    low: float
    high: float
    shuffles: int

    @property
    def holds(self) -> bool:
        return self.low <= CHANCE <= self.high

    @property
    def tells_little(self) -> bool:
        return self.high - self.mean > WIDEST


def chance(values: Sequence[float], *, false_alarms: float = FALSE_ALARMS) -> Chance:
    """Student's t interval of the mean of K ≥ 2 independent values.

    Args:
        false_alarms: how often the interval may miss the mean; divided by the number of tests where several are made.
    """
    if len(values) < 2:
        raise ValueError(f"An interval needs at least 2 shuffles, not {len(values)}.")
    mean, error = float(np.mean(values)), float(stats.sem(values))
    reach = float(stats.t.ppf(1 - false_alarms / 2, len(values) - 1)) * error
    return Chance(mean, mean - reach, mean + reach, len(values))


def auc_within_campaigns(occasions: Sequence[Occasion], scores: Sequence[np.ndarray]) -> float:
    """ROC-AUC as the tables measure it, of each occasion by itself, averaged; NaN where none has both labels."""
    found = [_auc(occasion, occasion.labels, each) for occasion, each in zip(occasions, scores, strict=True)]
    defined = [area for area in found if not np.isnan(area)]
    return float(np.mean(defined)) if defined else float("nan")


def _auc(occasion: Occasion, labels: np.ndarray, scores: np.ndarray) -> float:
    frame = occasion.pairs.with_columns(pl.lit(0).alias(c.CAMPAIGN), pl.Series(c.LABEL, labels))
    pairs = read_pairs(frame, seed=0)
    return float(Areas(pairs, scores).measure(np.ones((pairs.shopper_count, 1)))["roc_auc"][0])


def shuffled_evaluations(
    occasions: Sequence[Occasion], scores: Sequence[np.ndarray], shuffles: int, seed: int
) -> list[float]:
    """The area under the curve of scores against each of K shuffles of the labels."""
    random = np.random.default_rng(seed)
    return [
        auc_within_campaigns(
            [replace(occasion, labels=random.permutation(occasion.labels)) for occasion in occasions], scores
        )
        for _ in range(shuffles)
    ]


def shuffle_outcomes(casebook: Casebook, occasion: Occasion, folder: Path, seed: int) -> Casebook:
    """The shop as it would be if nobody's taste had decided which offers were used before an occasion.

    In every campaign that teaches by then, each pair's redemptions become those of another pair of the campaign. So
    the outcomes are shuffled at their source: what is computed of them changes along with the labels, and a feature
    that knows a campaign's outcome beforehand is as good a guide to shuffled labels as to true ones.
    """
    random = np.random.default_rng(seed)
    pairs = [casebook.pairs(campaign) for campaign in casebook.teaching(occasion.moment)]
    key = [c.CAMPAIGN, c.SHOPPER, c.COUPON]
    others = [each[random.permutation(len(each))].select(pl.col(key).name.suffix("_other")) for each in pairs]
    exchange = pl.concat([pl.concat([one, other], how="horizontal") for one, other in zip(pairs, others, strict=True)])
    folder.mkdir(parents=True)
    for table in SCHEMAS:
        if table != "redemptions":
            link_table(casebook.snapshot, folder, table)
    redemptions = casebook.snapshot.scan("redemptions").collect()
    exchanged = redemptions.join(exchange, on=key, how="left", maintain_order="left").select(
        pl.coalesce(f"{column}_other", column).alias(column) if column in key else column
        for column in redemptions.columns
    )
    write_table(exchanged, folder, "redemptions")
    return Casebook(Snapshot(folder))


@dataclass(frozen=True)
class ShuffledTask:
    """Examples with shuffled outcomes, and later occasions with true ones. All randomness comes from the seed."""

    examples: pl.DataFrame
    labels: np.ndarray
    campaigns: np.ndarray
    occasions: Sequence[Occasion]
    described: Sequence[pl.DataFrame]
    seed: int
    _fitted: dict[str, Algorithm] = field(default_factory=dict, init=False, repr=False)

    def fitted(self, algorithm: type[Algorithm]) -> Algorithm:
        """The algorithm taught by the examples, once. A blend is of its members as they are taught alone."""
        if algorithm.name not in self._fitted:
            self._fitted[algorithm.name] = (
                algorithm.of([self.fitted(member) for member in algorithm.members])
                if issubclass(algorithm, Blend)
                else algorithm().fit(self.examples, self.labels, self.campaigns, self.seed)
            )
        return self._fitted[algorithm.name]

    @cached_property
    def mirrored(self) -> "ShuffledTask":
        """The same with every input turned around within its range: what was most is least."""
        everything = pl.concat([self.examples, *self.described])
        turn = [
            (pl.lit(both_ends) - pl.col(name)).alias(name)
            for name, both_ends in (everything.max() + everything.min()).row(0, named=True).items()
        ]
        return replace(
            self,
            examples=self.examples.with_columns(turn),
            described=[each.with_columns(turn) for each in self.described],
        )


def shuffled_task(inputs: Inputs, world: Casebook, occasions: Sequence[Occasion], seed: int) -> ShuffledTask | None:
    """What the campaigns over before the first occasion teach in a world of shuffled outcomes; None if nothing."""
    examples = world.examples(inputs, occasions[0].moment)
    if examples is None or not examples.labels.any():
        return None
    rows = draw_equally_used(examples.labels, examples.campaigns, most=MOST_EXAMPLES, seed=seed)
    if not len(rows):
        return None
    return ShuffledTask(
        examples.inputs[rows],
        examples.labels[rows],
        examples.campaigns[rows],
        occasions,
        [describe(inputs, world.snapshot, occasion) for occasion in occasions],
        seed,
    )


def draw_equally_used(labels: np.ndarray, campaigns: np.ndarray, *, most: int, seed: int) -> np.ndarray:
    """Rows of about ``most`` pairs or fewer, ascending, drawn so that the same share of each campaign's is used.

    As many used pairs are among them as there are unused ones for; a campaign without a used pair is left out.

    Args:
        labels: (n,) whether each pair was used.
        campaigns: (n,) which campaign it is of.
    """
    frame = pl.DataFrame(
        {"used": labels, "campaign": campaigns, "drawn": np.random.default_rng(seed).random(len(labels))}
    )
    unused_for_each = min((~labels).sum() / labels.sum(), max(1.0, most / labels.sum() - 1))
    place = pl.int_range(pl.len()).over("campaign", "used", order_by="drawn")
    used, unused = pl.col("used").sum().over("campaign"), (~pl.col("used")).sum().over("campaign")
    kept = pl.min_horizontal(used, (unused / unused_for_each).floor())
    wanted = pl.when(pl.col("used")).then(kept).otherwise((kept * unused_for_each).round())
    return frame.select((place < wanted).arg_true()).to_series().to_numpy()


def shuffled_training(algorithm: type[Algorithm], task: ShuffledTask) -> float:
    """How well an algorithm that learned from shuffled outcomes orders the true ones of later campaigns.

    It is trained twice, the second time on mirrored inputs, and the mean of both areas is what counts. An algorithm may
    know beforehand that more of an input is better (monotone trees, weights that are not below zero); that is no leak,
    yet it ranks above chance whatever the labels are. Mirrored, the same knowledge ranks as far below it.
    """
    areas = []
    for each in (task, task.mirrored):
        model = each.fitted(algorithm)
        areas.append(auc_within_campaigns(each.occasions, [model.score(described) for described in each.described]))
    return float(np.mean(areas))
