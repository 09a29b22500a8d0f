"""Training from a terminal: results on standard output, progress on standard error, one clear line for a mistake."""

from argparse import ArgumentTypeError
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from recommender import models
from recommender.management.commands.train import parse_budget
from recommender.ml import selection
from recommender.ml.evaluation.table import render_table
from recommender.services import search, training
from tests.services.learning_shop import load_learning_shop

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "RESAMPLES", 20)


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
        (["--search", "soon"], "'soon' is no time to search. Expected a whole number above 0 and s, m or h"),
        (["--search", "10m"], "There is nothing to learn from: no order, redemption or event. Load history first."),
        (["--search", "10m", "--algorithms", "oracle"], "No algorithm is named oracle. There are: popularity, "),
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
    assert not models.SearchTrial.objects.exists()
    assert models.Shop.current().champion is None


@pytest.mark.parametrize(
    ("text", "time"),
    [("90s", timedelta(seconds=90)), ("10m", timedelta(minutes=10)), ("2h", timedelta(hours=2))],
)
def test_a_time_to_search(text: str, time: timedelta) -> None:
    assert parse_budget(text) == time


@pytest.mark.parametrize("text", ["", "10", "m", "0m", "-5m", "1.5h", "10 m", "10min", "1h30m", "1d", "9999999h"])
def test_what_is_no_time_to_search_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"is no time to search\. Expected .* such as 90s, 10m or 2h\."):
        parse_budget(text)


def test_search_prints_the_best_trials_and_the_champion(
    shop: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = []
    real = search.search
    monkeypatch.setattr(search, "search", lambda **options: reports.append(real(**options)) or reports[-1])
    monkeypatch.setattr(search, "monotonic", count().__next__)
    arguments = ("--search", "1s", "--as-of", "2021-07-30", "--algorithms", "popularity,decision_tree")

    call_command("train", *arguments)
    call_command("train", *arguments)
    output = capsys.readouterr()

    first, second = output.out.split("Trials on the campaigns that started from 2021-03-30 to 2021-07-30: ")[1:]
    more = "There is more to try: the same again goes on.\nThe best ones, by the half of the shoppers that chooses."
    assert first.startswith(f"1, of which 1 now. {more} The best of many looks better than it is:\n")
    assert second.startswith(f"2, of which 1 now. {more}")
    report = reports[1]
    assert report.selection.comparison is not None
    assert render_table(report.selection.comparison) in second
    lines = [line.split() for line in second.splitlines() if line.startswith("  NDCG@10")]
    assert [(line[1], line[-1]) for line in lines] == [(f"{each.ndcg_at_10:.3f}", each.name) for each in report.trials]
    champion = models.Shop.current().champion
    assert champion is not None
    assert champion == report.champion
    assert output.out.splitlines()[-2:] == [
        f"By the other half of the shoppers: {report.selection.reason}",
        f"Champion: {champion.name} (model version {champion.pk}), learned from {champion.training_rows:,} offers "
        f"of which {champion.training_positives:,} were used.",
    ]
    assert "Trial 1: popularity" in output.err
    assert "Trial 2: decision_tree" in output.err
