"""How shoppers with the same attributes use campaigns: for those of whom little else is known, and a little for all."""

import numpy as np
import polars as pl

from recommender.ml import columns as c
from recommender.ml.history import History
from recommender.ml.shopper_profile import EXPECTED_USED, USED, campaigns_received

USE_BY_PEOPLE_ALIKE = "use_by_people_alike"
#: Used campaigns that are added both to what those with an attribute used and to what was to be expected of anybody,
#: so that a value that few have says little.
PRIOR_USED = 3.0


def use_by_people_alike(history: History) -> pl.DataFrame:
    """A row for each shopper: columns ``shopper`` and ``use_by_people_alike``.

    For each attribute, the campaigns used by the others who have the shopper's value of it over those that the mean
    shopper of the same campaigns used, drawn towards 1; of these the geometric mean. Having no value is a value, since
    whom a shop knows well are seldom any shoppers. 1 in a shop without attributes.
    """
    shoppers = history.scan("shoppers").select(c.SHOPPER).sort(c.SHOPPER).collect()[c.SHOPPER]
    received = (
        campaigns_received(history)
        .group_by(c.SHOPPER, maintain_order=True)
        .agg(pl.col(USED, EXPECTED_USED).sum())
        .collect()
    )
    places = shoppers.search_sorted(received[c.SHOPPER]).to_numpy()
    used, expected = np.zeros(len(shoppers)), np.zeros(len(shoppers))
    used[places], expected[places] = received[USED].to_numpy(), received[EXPECTED_USED].to_numpy()
    logarithms = []
    known = history.scan("shopper_attributes").select(c.SHOPPER, c.ATTRIBUTE, c.VALUE).collect()
    for _attribute, its in known.sort(c.ATTRIBUTE, c.SHOPPER).group_by(c.ATTRIBUTE, maintain_order=True):
        value_of = np.zeros(len(shoppers), dtype=np.int64)  # 0 is having none
        value_of[shoppers.search_sorted(its[c.SHOPPER]).to_numpy()] = its[c.VALUE].rank("dense").to_numpy()
        used_by_others = np.bincount(value_of, weights=used)[value_of] - used
        expected_of_others = np.bincount(value_of, weights=expected)[value_of] - expected
        logarithms.append(np.log((used_by_others + PRIOR_USED) / (expected_of_others + PRIOR_USED)))
    alike = np.exp(np.mean(logarithms, axis=0)) if logarithms else np.ones(len(shoppers))
    return pl.DataFrame({c.SHOPPER: shoppers, USE_BY_PEOPLE_ALIKE: alike})
