"""The scored pairs that an evaluation looks at, checked and in one order."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from recommender.ml import columns as c

KEY = [c.CAMPAIGN, c.SHOPPER, c.COUPON]


class ScoresError(ValueError):
    """A scores frame is not what an evaluation can read: a missing column, a bad score, pairs that differ."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """n pairs of a shopper and a coupon of a campaign, ordered by campaign, shopper and coupon.

    A *list* is what one shopper was offered in one campaign: consecutive pairs here.
    """

    label: np.ndarray  #: n booleans: the coupon was used in the campaign, as far as that is observed
    share: np.ndarray  #: n numbers from 0 to 1: the share of the campaign's uses that was to be expected by then
    shopper: np.ndarray  #: n numbers below ``shopper_count``
    shopper_count: int
    coupon: np.ndarray  #: n numbers below ``coupon_count``
    coupon_count: int
    campaign_count: int
    list_number: np.ndarray  #: n numbers, growing
    list_start: np.ndarray  #: position of the first pair of each list
    tie_breaker: np.ndarray  #: n random uint64 numbers that depend on the seed and the pair alone

    def sum_by_shopper(self, *values: np.ndarray) -> np.ndarray:
        """Sums of K values of the n pairs over each shopper's pairs: K × shoppers."""
        return np.stack([np.bincount(self.shopper, weights=v, minlength=self.shopper_count) for v in values])

    def observed_probabilities(self, scores: np.ndarray) -> np.ndarray:
        """The probabilities that the labels say "used", from n scores, which count the campaigns' whole windows.

        Wherever the level counts, they are what labels are compared with. In a list their order is that of the scores.
        """
        return scores * self.share


def read_pairs(pairs: pl.DataFrame, *, seed: int) -> Pairs:
    """Pairs of a frame with the columns campaign, shopper, coupon (whole numbers) and label, in any order of rows.

    Args:
        pairs: a column ``share`` says which share of the campaign's uses was to be expected by the time that labels
            go to; without it windows were observed whole.

    Raises:
        ScoresError: a column is missing, a value is missing, a pair is there twice, or a share is not between 0 and 1.
    """
    _check_columns(pairs)
    return _read_sorted(_select(pairs).sort(KEY), seed=seed)


def _select(frame: pl.DataFrame) -> pl.DataFrame:
    share = pl.col(c.SHARE).cast(pl.Float64) if c.SHARE in frame.columns else pl.lit(1.0).alias(c.SHARE)
    return frame.select(*KEY, c.LABEL, share)


def _check_columns(pairs: pl.DataFrame) -> None:
    missing = [name for name in [*KEY, c.LABEL] if name not in pairs.columns]
    if missing:
        raise ScoresError(f"The pairs have no column {', '.join(missing)}; they have {', '.join(pairs.columns)}.")


def _read_sorted(pairs: pl.DataFrame, *, seed: int) -> Pairs:
    for name in pairs.columns:
        if nulls := pairs[name].null_count():
            raise ScoresError(f"Column {name} of the pairs is empty in {nulls} of {pairs.height} rows.")
    for name in KEY:
        if not pairs.schema[name].is_integer():
            raise ScoresError(f"Column {name} of the pairs is {pairs.schema[name]}; expected the snapshot's numbers.")
    if twice := pairs.select(pl.all_horizontal(pl.col(KEY) == pl.col(KEY).shift()).sum()).item():
        raise ScoresError(f"{twice} of {pairs.height} pairs are there more than once in the same campaign.")
    if bad := pairs.select((~pl.col(c.SHARE).is_between(0, 1)).sum()).item():
        raise ScoresError(f"Column {c.SHARE} of the pairs is not between 0 and 1 in {bad} of {pairs.height} rows.")
    lists = pairs.select(pl.struct(c.CAMPAIGN, c.SHOPPER).rle_id()).to_series().to_numpy().astype(np.int64)
    shoppers, shopper = np.unique(pairs[c.SHOPPER].to_numpy(), return_inverse=True)
    coupons, coupon = np.unique(pairs[c.COUPON].to_numpy(), return_inverse=True)
    return Pairs(
        label=pairs[c.LABEL].cast(pl.Boolean).to_numpy(),
        share=pairs[c.SHARE].to_numpy(),
        shopper=shopper,
        shopper_count=len(shoppers),
        coupon=coupon,
        coupon_count=len(coupons),
        campaign_count=pairs[c.CAMPAIGN].n_unique(),
        list_number=lists,
        list_start=np.flatnonzero(np.diff(lists, prepend=-1)),
        tie_breaker=_mix(seed, *(pairs[name].to_numpy() for name in KEY)),
    )


def read_scores(scores: pl.DataFrame, *, seed: int) -> tuple[Pairs, dict[str, np.ndarray]]:
    """The pairs of a scores frame, and each algorithm's n scores in their order.

    Args:
        scores: columns algorithm, campaign, shopper, coupon, score, label, and ``share`` where windows may be observed
            in part, as :func:`read_pairs` takes it; every algorithm scores the same pairs.
        seed: of the random order among equal scores of a list.

    Raises:
        ScoresError: the frame is empty or not as above, or a score is no probability.
    """
    missing = [name for name in (c.ALGORITHM, c.SCORE) if name not in scores.columns]
    if missing:
        raise ScoresError(f"The scores have no column {', '.join(missing)}; they have {', '.join(scores.columns)}.")
    if scores.is_empty():
        raise ScoresError("There are no scores to evaluate.")
    _check_columns(scores)
    by_algorithm: dict[str, np.ndarray] = {}
    pairs: Pairs | None = None
    first = pl.DataFrame()
    for (algorithm,), frame in sorted(scores.partition_by(c.ALGORITHM, as_dict=True).items()):
        ordered = frame.sort(KEY)
        if pairs is None:
            first = _select(ordered)
            pairs = _read_sorted(first, seed=seed)
        if not _select(ordered).equals(first):
            raise ScoresError(
                f"{algorithm} has other pairs, labels or shares ({ordered.height} rows) than "
                f"{next(iter(by_algorithm))} ({first.height} rows); algorithms are compared on the same pairs."
            )
        values = ordered[c.SCORE].cast(pl.Float64).to_numpy()
        if bad := int(np.count_nonzero(~((values >= 0) & (values <= 1)))):
            raise ScoresError(f"{bad} of {len(values)} scores of {algorithm} are not between 0 and 1.")
        by_algorithm[str(algorithm)] = values
    assert pairs is not None
    return pairs, by_algorithm


def _mix(seed: int, *numbers: np.ndarray) -> np.ndarray:
    """A hash of whole numbers: SplitMix64's finaliser (Steele, Lea and Flood 2014), applied number after number."""
    state = np.full(len(numbers[0]), seed % 2**64, dtype=np.uint64)
    for number in numbers:
        state = (state ^ number.astype(np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return state
