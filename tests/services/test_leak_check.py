"""The leak check on a shop's own history: the real inputs pass, leaky ones are named, and nothing is changed."""

import tempfile
from pathlib import Path

import pytest

from recommender import models
from recommender.ml.algorithms import ALGORITHMS
from recommender.ml.features import PairFeatures
from recommender.progress import Cancelled, Progress
from recommender.services import leak_check
from recommender.services.leak_check import UnknownInputs, check_leaks, inputs_named
from tests.ml.leaky_inputs import LEAKY, HonestInputs, LeakyInputs, LogisticOnHonest, LogisticOnLeaky
from tests.services.learning_shop import load_learning_shop
from tests.services.small_shop import make_shop

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]

POPULARITY = [ALGORITHMS["popularity"]]


@pytest.fixture(autouse=True)
def temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


@pytest.fixture
def shop(data_dir: Path, tmp_path: Path) -> None:
    load_learning_shop(tmp_path / "export")


def test_the_real_inputs_pass(shop: None, tmp_path: Path) -> None:
    report = check_leaks(algorithms=[ALGORITHMS["popularity"], ALGORITHMS["gradient_boosting"]], shuffles=2)

    assert report.is_clean
    assert len(report.occasions) == 3
    assert report.columns == {"popularity": [], "features": []}
    assert report.scores == {"popularity": [], "gradient_boosting": []}
    for found in (report.evaluations, report.trainings, report.roc_auc):
        assert list(found) == ["popularity", "gradient_boosting"]
    assert {each.shuffles for each in report.trainings.values()} == {2}
    assert report.roc_auc["gradient_boosting"] > 0.7
    assert list((tmp_path / "temporary").iterdir()) == []
    assert models.Snapshot.objects.count() == 1
    assert not models.ModelVersion.objects.exists()


def test_leaky_inputs_are_found_in_all_they_do(shop: None) -> None:
    report = check_leaks(algorithms=[LogisticOnHonest, LogisticOnLeaky], inputs=[HonestInputs(), LeakyInputs()])

    assert not report.is_clean
    assert report.columns["honest"] == []
    assert {each.what for each in report.columns["leaky"]} == set(LEAKY)
    assert len(report.columns["leaky"]) == 3 * len(LEAKY)
    assert report.scores["logistic_on_honest"] == []
    assert {each.what for each in report.scores["logistic_on_leaky"]} == {"logistic_on_leaky"}
    assert report.informed == ["logistic_on_leaky"]
    assert report.biased == []
    assert [(each.inputs, each.column, each.roc_auc) for each in report.too_good] == [
        ("leaky", "used_in_the_campaign", pytest.approx(1.0, abs=0.02))
    ]


def test_inputs_that_no_algorithm_uses_are_checked_by_themselves(shop: None) -> None:
    report = check_leaks(inputs=[LeakyInputs()], campaigns=1)

    assert [each.what for each in report.columns["leaky"]] == list(LEAKY)
    assert report.scores == report.evaluations == report.trainings == {}
    assert [each.column for each in report.too_good] == ["used_in_the_campaign"]


def test_inputs_bring_the_algorithms_that_use_them(shop: None) -> None:
    report = check_leaks(inputs=inputs_named(["popularity"]), campaigns=1, shuffles=2)

    assert list(report.columns) == ["popularity"]
    assert list(report.scores) == ["popularity"]


def test_a_shop_without_campaigns_is_checked_on_its_purchases(shop: None) -> None:
    for model in (models.Redemption, models.Event, models.CampaignCoupon, models.CampaignShopper, models.Campaign):
        model.objects.all().delete()

    report = check_leaks(algorithms=POPULARITY, campaigns=2)

    assert report.is_clean
    assert [occasion.campaign for occasion in report.occasions] == [None, None]
    assert report.columns == {"popularity": []}
    assert report.evaluations == report.trainings == {}


def test_an_empty_shop_has_nothing_to_check() -> None:
    report = check_leaks(algorithms=POPULARITY)

    assert report.is_clean
    assert report.occasions == []


def test_a_small_shop_in_its_first_campaign(data_dir: Path) -> None:
    make_shop()

    assert check_leaks(algorithms=POPULARITY, shuffles=2).is_clean


def test_cancelled_it_leaves_nothing(shop: None, tmp_path: Path) -> None:
    class CancelAtLabels(Progress):
        def report(self, message: str, done: int = 0, total: int | None = None) -> None:
            if "shuffled labels" in message:
                raise Cancelled

    with pytest.raises(Cancelled):
        check_leaks(algorithms=POPULARITY, campaigns=1, progress=CancelAtLabels())

    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_big_shop_is_looked_at_in_part(shop: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leak_check, "MOST_SHOPPERS", 30)

    report = check_leaks(inputs=[LeakyInputs()], campaigns=1)

    assert report.occasions[0].pairs["shopper"].n_unique() <= 30
    assert [each.what for each in report.columns["leaky"]] == list(LEAKY)


def test_inputs_go_by_name_or_import_path() -> None:
    features, leaky, again = inputs_named(["features", "tests.ml.leaky_inputs.LeakyInputs", "popularity"])

    assert isinstance(features, PairFeatures)
    assert isinstance(leaky, LeakyInputs)
    assert again is ALGORITHMS["popularity"].inputs


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("freatures", "No inputs are named freatures. There are: popularity, similar shoppers, .*; yours go by import"),
        ("tests.ml.leaky_inputs.Missing", "No inputs are named tests.ml.leaky_inputs.Missing"),
        ("tests.ml.leaky_inputs.LogisticOnLeaky", "LogisticOnLeaky is no kind of Inputs"),
        ("tests.ml.leaky_inputs.LEAKY", "LEAKY is no kind of Inputs"),
    ],
)
def test_what_are_no_inputs_is_refused(name: str, message: str) -> None:
    with pytest.raises(UnknownInputs, match=message):
        inputs_named([name])
