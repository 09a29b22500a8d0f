"""Backtest from a terminal: the file of scores, results on standard output, one clear line for a mistake."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from django.core.management import CommandError, call_command

from recommender import models
from recommender.ml import behaviour_evaluation, selection
from recommender.ml.evaluation.table import render_table
from recommender.services import backtest as service
from tests.services.learning_shop import load_learning_shop

pytestmark = pytest.mark.django_db

START = "2021-06-30"  # the fourth campaign's


@pytest.fixture(autouse=True)
def data_dir(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (selection, service, behaviour_evaluation):
        monkeypatch.setattr(module, "RESAMPLES", 20)
    settings.DATA_DIR = tmp_path / "data"
    return settings.DATA_DIR


@pytest.fixture
def shop(data_dir: Path, tmp_path: Path) -> None:
    load_learning_shop(tmp_path / "export")


def test_backtest_writes_the_scores_and_prints_the_table(
    shop: None, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    backtest = service.backtest
    monkeypatch.setattr(service, "backtest", lambda **options: results.append(backtest(**options)) or results[-1])
    folder = tmp_path / "out"
    folder.mkdir()
    file = folder / "scores.parquet"
    file.write_text("of an earlier backtest")

    call_command("backtest", "--start", START, "--algorithms", "item_based_cf", "--scores-out", str(file))

    (result,) = results
    scores = pl.read_parquet(file)
    assert scores.columns == ["algorithm", "campaign_id", "shopper_id", "coupon_id", "score", "label"]
    assert scores.equals(result.scores)
    assert set(scores["algorithm"]) == {"popularity", "item_based_cf", "champion"}
    assert set(scores["campaign_id"]) == {"fourth", "last"}
    assert [path.name for path in folder.iterdir()] == ["scores.parquet"]

    output = capsys.readouterr()
    assert output.out.startswith(render_table(result.comparison))
    assert "| champion " in output.out
    assert result.behaviour is not None
    assert render_table(result.behaviour) in output.out
    assert output.out.splitlines()[-2:] == [
        f"Champion: {result.selection.champion}, chosen on the campaigns from 2021-02-28 to {START}. "
        f"{result.selection.reason}",
        f"Figure: {data_dir / models.BACKTEST_FIGURE}",
    ]
    assert (data_dir / models.BACKTEST_FIGURE).is_file()
    assert "Scoring past campaigns by item_based_cf" in output.err
    assert "Scoring past campaigns" not in output.out
    assert "Champion" not in output.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--start", START, "--algorithms", "oracle"], "No algorithm is named oracle. There are: popularity, "),
        (["--start", START], "No campaign that starts between 2021-06-30.* and the end of history has a used offer"),
        (["--start", START, "--end", START], "--end must be after --start"),
        (["--start", START, "--end", "2021-01-01"], "--end must be after --start"),
        (["--start", START, "--validation-start", "2021-07-01"], "--start must be after --validation-start"),
        (["--start", "soon"], "'soon' is not a date"),
        ([], "the following arguments are required: --start"),
    ],
)
def test_a_mistake_is_one_clear_line_and_writes_nothing(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    with pytest.raises(CommandError, match=message) as error:
        call_command("backtest", *options, "--scores-out", str(tmp_path / "scores.parquet"))

    assert "\n" not in str(error.value)
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "scores.parquet").exists()
    assert not (data_dir / "figures").exists()


@pytest.mark.parametrize(
    ("out", "message"), [("missing/scores.parquet", "there is no folder .*/missing"), ("folder", "folder is a folder")]
)
def test_a_file_that_cannot_be_written_is_told_before_the_work_begins(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, message: str
) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.delattr(service, "take_snapshot")

    with pytest.raises(CommandError, match=f"^--scores-out: .*{message}"):
        call_command("backtest", "--start", START, "--scores-out", str(tmp_path / out))

    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert not list((tmp_path / "folder").iterdir())
