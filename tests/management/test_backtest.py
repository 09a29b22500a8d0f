"""Backtest from a terminal: the file of scores, results on standard output, one clear line for a mistake."""

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from django.core.management import CommandError, call_command

from recommender import models
from recommender.management.commands.backtest import Command
from recommender.ml import ablation, behaviour_evaluation, selection
from recommender.ml.evaluation.report import BEGIN, END
from recommender.ml.evaluation.table import render_by_kind, render_reliability, render_slices, render_table
from recommender.ml.features import GROUPS
from recommender.ml.forecast import render_forecasts
from recommender.services import backtest as service
from tests.services.learning_shop import load_learning_shop

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]

START = "2021-06-30"  # the fourth campaign's
SECTIONS = [
    "### The algorithms",
    "### What they cost",
    "### How true the probabilities are",
    "### How many uses the champion expected",
    "### Where the champion is strong and where it is weak",
    "### By kind of campaign",
    "### The behaviour model by itself",
    "### What these figures were made with",
]


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (selection, service, behaviour_evaluation):
        monkeypatch.setattr(module, "RESAMPLES", 20)


@pytest.fixture
def shop(data_dir: Path, tmp_path: Path) -> None:
    load_learning_shop(tmp_path / "export")


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> list[service.Backtest]:
    """What the service returned to the command."""
    done: list[service.Backtest] = []
    backtest = service.backtest
    monkeypatch.setattr(service, "backtest", lambda **options: done.append(backtest(**options)) or done[-1])
    return done


def test_backtest_writes_the_scores_and_prints_the_tables(
    shop: None,
    results: list[service.Backtest],
    data_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    file = folder / "scores.parquet"
    file.write_text("of an earlier backtest")

    models.Campaign.objects.filter(campaign_id="last").update(kind="Type A")
    call_command("backtest", "--start", START, "--algorithms", "item_based_cf", "--scores-out", str(file))

    (result,) = results
    scores = pl.read_parquet(file)
    assert scores.columns == ["algorithm", "campaign_id", "shopper_id", "coupon_id", "score", "label"]
    assert scores.equals(result.scores)
    assert set(scores["algorithm"]) == {"popularity", "item_based_cf", "champion"}
    assert set(scores["campaign_id"]) == {"fourth", "last"}
    assert [path.name for path in folder.iterdir()] == ["scores.parquet"]

    output = capsys.readouterr()
    assert output.out.startswith(f"### The algorithms\n\n{render_table(result.comparison)}")
    assert "| champion " in output.out
    assert (
        f"Champion: {result.selection.champion}, chosen on the campaigns from 2021-02-28 to {START}. "
        f"{result.selection.reason}\n"
    ) in output.out
    assert [line for line in output.out.splitlines() if line.startswith("#")] == SECTIONS
    assert result.behaviour is not None
    for table in (
        render_table(result.behaviour),
        render_forecasts(result.forecasts),
        render_slices(result.slices),
        render_by_kind(result.by_kind),
        render_reliability(result.comparison, result.reliability),
    ):
        assert table.strip() in output.out
    for algorithm, cost in result.costs.items():
        seconds = rf"{cost.fit_seconds:.1f} \| +{cost.score_seconds:.1f}"
        assert re.search(rf"^\| {algorithm} +\| +{seconds} \| +[\d,]+ \| +[\d.–]+ \|$", output.out, re.MULTILINE)
    assert re.search(r"^The whole backtest: \d+ seconds, peak memory \d+\.\d GiB\.$", output.out, re.MULTILINE)
    assert re.search(r"^Python 3\.\d+\.\d+ · numpy \d", output.out, re.MULTILINE)
    assert output.out.splitlines()[-1] == f"Figure: {data_dir / models.BACKTEST_FIGURE}"
    assert (data_dir / models.BACKTEST_FIGURE).is_file()
    assert "Scoring past campaigns by item_based_cf" in output.err
    assert "Scoring past campaigns" not in output.out
    assert "Champion" not in output.err


def test_the_page_holds_what_was_printed_and_the_command_that_made_it(
    shop: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = Path("page.md")
    page.write_text(f"Before.\n\n{BEGIN}\nold\n{END}\n\nAfter.\n")
    typed = ["backtest", "--start", START, "--algorithms", "popularity", "--report", "page.md", "--figures", "drawn"]

    command = Command()
    command.run_from_argv(["/anywhere/manage.py", *typed])

    printed, _, figure = capsys.readouterr().out.rstrip().rpartition("\n")
    assert figure.startswith("Figure: ")
    assert page.read_text() == f"Before.\n\n{BEGIN}\n\n{printed.strip()}\n\n{END}\n\nAfter.\n"
    assert f"\n    manage.py {' '.join(typed)}\n" in printed
    assert sorted(path.name for path in Path("drawn").iterdir()) == ["comparison.png", "reliability.png"]


def test_what_each_part_brings_is_told_if_asked_for(
    shop: None, results: list[service.Backtest], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablation, "GROUPS", {"brand": GROUPS["brand"]})

    call_command("backtest", "--start", START, "--algorithms", "popularity", "--ablation")

    (result,) = results
    output = capsys.readouterr().out
    assert result.ablation is not None
    assert list(result.ablation.groups.estimates) == [ablation.WHOLE, "brand"]
    assert result.selection.comparison is not None
    assert result.ablation.groups.pair_count == result.selection.comparison.pair_count
    text = ablation.render_ablation(result.ablation, result.validation_period)
    assert f"### What each part brings\n\n{text}" in output
    assert "boosted_logistic_regression" not in output.split("###")[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--start", START, "--algorithms", "oracle"], "No algorithm is named oracle. There are: popularity, "),
        (["--start", START], "No campaign that starts between 2021-06-30.* and the end of history has a used offer"),
        (["--start", START, "--end", START], "--end must be after --start"),
        (["--start", START, "--end", "2021-01-01"], "--end must be after --start"),
        (["--start", START, "--validation-start", "2021-07-01"], "--start must be after --validation-start"),
        (["--start", "soon"], "'soon' is not a date"),
        (["--start", START, "--taught-share", "0"], "'0' is not a share above 0 and up to 1"),
        (["--start", START, "--taught-share", "half"], "'half' is not a share above 0 and up to 1"),
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

    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "folder"]
    assert not list((tmp_path / "folder").iterdir())


@pytest.mark.parametrize(
    ("option", "path", "message"),
    [
        ("--report", "missing.md", r"missing\.md cannot be read: No such file or directory"),
        ("--report", "page.md", r"page\.md has the line <!-- backtest: begin --> 0 times; expected once"),
        ("--figures", "page.md", r"page\.md is a file; expected a folder"),
    ],
)
def test_a_page_or_folder_that_will_not_do_is_told_before_the_work_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, path: str, message: str
) -> None:
    (tmp_path / "page.md").write_text("no markers")
    monkeypatch.delattr(service, "take_snapshot")

    with pytest.raises(CommandError, match=f"^{option}: .*{message}"):
        call_command("backtest", "--start", START, option, str(tmp_path / path))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "page.md"]
    assert (tmp_path / "page.md").read_text() == "no markers"


def test_a_page_that_lost_its_markers_meanwhile_stays_and_the_figures_are_printed(
    shop: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n")
    backtest = service.backtest

    def edited_meanwhile(**options: Any) -> service.Backtest:
        page.write_text("no markers")
        return backtest(**options)

    monkeypatch.setattr(service, "backtest", edited_meanwhile)
    with pytest.raises(CommandError, match=r"page\.md has the line <!-- backtest: begin --> 0 times"):
        call_command("backtest", "--start", START, "--algorithms", "popularity", "--report", str(page))

    assert page.read_text() == "no markers"
    assert capsys.readouterr().out.startswith("### The algorithms\n")
