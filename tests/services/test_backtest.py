"""Backtest: every pair of the period once an algorithm, chosen and cut by what was known before the period."""

from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from recommender import models
from recommender.ml import selection
from recommender.ml.algorithms import UnknownAlgorithm
from recommender.services import backtest as service
from recommender.services.backtest import Backtest, NothingToTest, backtest, draw_figures
from tests.services.learning_shop import COUPONS, STARTS, TREATED, load_learning_shop

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]

COLUMNS = ["algorithm", "campaign_id", "shopper_id", "coupon_id", "score", "label"]
FEW = ["decision_tree"]
FEW_COMPARED = ["popularity", "decision_tree"]  # the baseline comes by itself
#: In the midst of the third campaign, so that what is used of it later is not known yet.
START = STARTS["third"] + timedelta(days=10)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (selection, service):
        monkeypatch.setattr(module, "RESAMPLES", 20)
    monkeypatch.setattr(service, "evaluate_behaviour", lambda *_, **__: None)  # the command's tests have it


@pytest.fixture
def shop(data_dir: Path, tmp_path: Path) -> None:
    load_learning_shop(tmp_path / "export")


def treated_pairs(*campaigns: str) -> set[tuple[str, str, str]]:
    """Every treated shopper × coupon of the campaigns, by the shop's identifiers."""
    sent = models.CampaignShopper.objects.filter(campaign__campaign_id__in=campaigns, group="treatment")
    return {
        (campaign_id, shopper_id, coupon_id)
        for campaign_id, shopper_id in sent.values_list("campaign__campaign_id", "shopper__shopper_id")
        for coupon_id in models.CampaignCoupon.objects.filter(campaign__campaign_id=campaign_id).values_list(
            "coupon__coupon_id", flat=True
        )
    }


def used_pairs() -> set[tuple[str, str, str]]:
    return set(
        models.Redemption.objects.values_list("campaign__campaign_id", "shopper__shopper_id", "coupon__coupon_id")
    )


def scores_of(result: Backtest, algorithm: str) -> pl.DataFrame:
    return result.scores.filter(algorithm=algorithm).drop("algorithm").sort("campaign_id", "shopper_id", "coupon_id")


def test_every_pair_of_the_period_is_scored_once_by_each_algorithm(shop: None, data_dir: Path) -> None:
    result = backtest(start=START, algorithms=FEW)

    assert result.scores.columns == COLUMNS
    assert result.scores.dtypes == [pl.String] * 4 + [pl.Float64, pl.Boolean]
    assert list(result.scores["algorithm"].unique(maintain_order=True)) == ["popularity", "decision_tree", "champion"]
    expected = treated_pairs("fourth", "last")
    assert len(expected) == TREATED * (COUPONS["fourth"] + COUPONS["last"])
    for algorithm in ("popularity", "decision_tree", "champion"):
        scores = scores_of(result, algorithm)
        pairs = scores.select("campaign_id", "shopper_id", "coupon_id")
        assert set(pairs.rows()) == expected
        assert pairs.height == len(expected)
        assert set(pairs.filter(scores["label"]).rows()) == used_pairs() & expected
        assert scores["score"].is_between(0, 1).all()

    assert result.selection.champion == "decision_tree"
    assert scores_of(result, "champion").equals(scores_of(result, "decision_tree"))
    assert not scores_of(result, "champion").equals(scores_of(result, "popularity"))
    thresholds = result.selection.thresholds
    assert result.comparison.thresholds == {**thresholds, "champion": thresholds["decision_tree"]}
    assert result.comparison.figures("champion") == result.comparison.figures("decision_tree")
    assert result.period == (START, STARTS["last"])
    assert result.validation_period == (datetime(2021, 2, 10, tzinfo=START.tzinfo), START)
    assert {name: cost.pairs for name, cost in result.costs.items()} == dict.fromkeys(FEW_COMPARED, len(expected))
    peaks = [cost.peak_memory for cost in result.costs.values() if cost.peak_memory is not None]
    assert all(0 < peak <= result.peak_memory for peak in peaks)
    assert list(result.reliability) == ["champion", "popularity"]
    for deciles in result.reliability.values():
        assert sum(decile.pairs for decile in deciles) == len(expected)
        assert sum(decile.redemptions for decile in deciles) == len(used_pairs() & expected)
    slices = {each.name: each.comparison for each in result.slices}
    assert list(slices) == [
        "light buyers",
        "heavy buyers",
        "coupon-averse shoppers",
        "new coupons",
        "narrow coupons",
        "broad coupons",
    ]
    assert result.by_kind == {}
    assert slices["light buyers"].pair_count == slices["heavy buyers"].pair_count == len(expected) // 3
    assert slices["new coupons"].pair_count == TREATED  # one coupon of the last campaign
    assert {each.candidate for each in result.slices} == {"champion"}
    assert (data_dir / models.BACKTEST_FIGURE).stat().st_size > 0
    assert not models.ModelVersion.objects.exists()
    assert models.Shop.current().champion is None


def test_what_happens_from_the_start_on_decides_neither_champion_nor_thresholds(shop: None) -> None:
    before = backtest(start=START, end=STARTS["last"], algorithms=["item_based_cf"])
    assert set(before.scores["campaign_id"]) == {"fourth"}  # the end itself is no longer of the period

    later = models.Redemption.objects.filter(redeemed_at__gte=START)
    assert set(later.values_list("campaign__campaign_id", flat=True)) == {"third", "fourth", "last"}
    later.filter(campaign__campaign_id__in=["third", "last"]).delete()
    later.filter(shopper__shopper_id__lt="S30").delete()
    after = backtest(start=START, end=STARTS["last"], algorithms=["item_based_cf"])

    assert before.scores["label"].sum() > after.scores["label"].sum() > 0
    assert after.selection.champion == before.selection.champion
    assert after.selection.thresholds == before.selection.thresholds
    assert after.selection.decision == before.selection.decision
    assert before.selection.comparison is not None
    assert after.selection.comparison is not None
    assert after.selection.comparison.as_json() == before.selection.comparison.as_json()
    assert after.comparison.as_json() != before.comparison.as_json()


def test_the_validation_period_may_be_given(shop: None) -> None:
    result = backtest(start=STARTS["last"], validation_start=STARTS["fourth"], algorithms=["popularity"])

    assert result.validation_period == (STARTS["fourth"], STARTS["last"])
    assert result.selection.comparison is not None
    assert result.selection.comparison.campaign_count == 1
    assert result.selection.champion == "popularity"
    assert list(result.scores["algorithm"].unique(maintain_order=True)) == ["popularity", "champion"]


def test_without_an_earlier_campaign_there_is_a_champion_too(shop: None) -> None:
    result = backtest(start=STARTS["first"], end=STARTS["second"], algorithms=FEW)

    assert (result.selection.champion, result.selection.comparison) == ("decision_tree", None)
    assert result.comparison.thresholds == dict.fromkeys(["popularity", "decision_tree", "champion"], 0.5)


def test_kinds_of_campaign_are_told_apart(shop: None) -> None:
    models.Campaign.objects.filter(campaign_id="last").update(kind="Type A")
    result = backtest(start=START, algorithms=FEW)

    assert {kind: found.pair_count for kind, found in result.by_kind.items()} == {
        "Type A": TREATED * COUPONS["last"],
        "no kind": TREATED * COUPONS["fourth"],
    }
    of_kinds = {each.name: each.comparison for each in result.slices if each.name.startswith("campaigns: ")}
    assert of_kinds == {f"campaigns: {kind}": found for kind, found in result.by_kind.items()}
    assert list(of_kinds["campaigns: Type A"].estimates) == ["champion", "decision_tree", "popularity"]


def test_figures_are_drawn_into_a_folder(shop: None, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "figures"
    draw_figures(backtest(start=STARTS["last"], algorithms=["popularity"]), folder)

    assert sorted(path.name for path in folder.iterdir()) == ["comparison.png", "reliability.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.iterdir())


@pytest.mark.parametrize("start", [STARTS["last"] + timedelta(seconds=1), STARTS["last"] + timedelta(days=9999)])
def test_a_period_in_which_no_campaign_starts_is_refused(shop: None, data_dir: Path, start: datetime) -> None:
    with pytest.raises(NothingToTest, match=f"starts between {start:%Y-%m-%d}.* and the end of history has a used"):
        backtest(start=start, algorithms=["popularity"])

    assert not (data_dir / "figures").exists()


def test_an_unknown_algorithm_is_refused_before_anything_is_read(shop: None) -> None:
    with pytest.raises(UnknownAlgorithm, match=r"No algorithm is named oracle\. There are: popularity, "):
        backtest(start=START, algorithms=["oracle"])

    assert not models.Snapshot.objects.exists()
