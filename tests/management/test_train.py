"""Training from a terminal: results on standard output, progress on standard error, one clear line for a mistake."""

from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from recommender import models
from recommender.ml import selection
from recommender.ml.evaluation.table import render_table
from recommender.services import training
from tests.services.learning_shop import load_learning_shop

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def data_dir(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(selection, "RESAMPLES", 20)
    settings.DATA_DIR = tmp_path / "data"
    return settings.DATA_DIR


@pytest.fixture
def shop(data_dir: Path, tmp_path: Path) -> None:
    load_learning_shop(tmp_path / "export")


def test_train_prints_the_table_and_the_champion(
    shop: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = []
    train = training.train
    monkeypatch.setattr(training, "train", lambda **options: reports.append(train(**options)) or reports[-1])

    call_command("train", "--as-of", "2021-07-30", "--algorithms", "popularity,item_based_cf")
    output = capsys.readouterr()
    champion = models.Shop.current().champion
    assert champion is not None
    assert champion.learned_until.isoformat() == "2021-07-30T00:00:00+00:00"
    assert set(models.ModelVersion.objects.values_list("algorithm", flat=True)) == {"popularity", "item_based_cf"}
    summary = (
        f"Champion: {champion.algorithm} (model version {champion.pk}), learned from {champion.training_rows:,} offers "
        f"of which {champion.training_positives:,} were used."
    )
    selected = reports[0].selection
    assert "Campaigns that started from 2021-03-30 to 2021-07-30" in output.out
    assert render_table(selected.comparison) in output.out
    assert output.out.splitlines()[-2:] == [selected.reason, summary]
    assert "Scoring past campaigns by item_based_cf" in output.err
    assert "Scoring past campaigns" not in output.out
    assert "Champion" not in output.err

    call_command("train", "--as-of", "2021-07-30", "--algorithms", "popularity,item_based_cf")
    assert capsys.readouterr().out.splitlines() == [
        "Nothing new to learn from: every algorithm has been trained on this history.",
        summary,
    ]
    assert models.Promotion.objects.count() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "There is nothing to learn from: no order, redemption or event. Load history first."),
        (["--algorithms", "popularity,oracle"], "No algorithm is named oracle. There are: popularity, user_based_cf, "),
        (["--algorithms", ","], "',' names nothing. Expected names separated by commas."),
        (["--as-of", "soon"], "'soon' is not a date. Expected YYYY-MM-DD"),
    ],
)
def test_a_mistake_is_one_clear_line_and_changes_nothing(
    capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    with pytest.raises(CommandError, match=message) as error:
        call_command("train", *options)

    assert "\n" not in str(error.value)
    assert capsys.readouterr().out == ""
    assert not models.ModelVersion.objects.exists()
    assert models.Shop.current().champion is None
