"""Whether the groups were alike before the campaign, as groups that were drawn are but for chance."""

import numpy as np

from recommender.ml.incrementality.outcomes import check_groups

#: Draws of other groups: enough to tell 1 of 1,000, no more. After so many that are as unlike as these it is settled
#: that these are nothing special.
DRAWS = 2_000
ENOUGH = 10


def check_balance(treated: np.ndarray, before: np.ndarray, *, seed: int = 0) -> float | None:
    """How often groups drawn from the same shoppers are as unlike as these: a randomisation test (Fisher 1935).

    It is exact whatever shoppers spend, where a t-test raises several times its false alarms when few are held out and
    few spend most of the money. Compared are means of the logarithm of 1 + what was spent. Drawing ends as soon as
    enough draws are as unlike (Besag and Clifford 1991), so only groups that do differ take long.

    Args:
        treated: (n,) whether the shopper was sent the campaign.
        before: (n,) what the shopper spent before it.

    Returns:
        The p-value; None where a group is empty or all spent the same.

    Raises:
        ValueError: the lengths differ, or a value is not finite.
    """
    before = np.asarray(before, dtype=np.float64)
    treated = check_groups(treated, before)
    smaller = treated if treated.sum() * 2 <= len(treated) else ~treated
    size = int(smaller.sum())
    if not size or np.ptp(before) == 0:
        return None
    spent = np.sign(before) * np.log1p(np.abs(before))
    spent -= spent.mean()
    unlike = abs(spent[smaller].sum()) * (1 - 1e-9)  # what is equal but for rounding is as unlike
    random = np.random.default_rng(seed)
    as_unlike = 0
    for drawn in range(1, DRAWS + 1):
        as_unlike += abs(spent[random.choice(len(spent), size, replace=False, shuffle=False)].sum()) >= unlike
        if as_unlike == ENOUGH:
            return as_unlike / drawn
    return (as_unlike + 1) / (DRAWS + 1)
