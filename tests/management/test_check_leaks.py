"""The leak check from a terminal: a table and success, or the leaks and failure."""

import tempfile
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.ml.leaky_inputs import LEAKY
from tests.services.learning_shop import load_learning_shop

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]

LEAKY_PATH = "tests.ml.leaky_inputs.LeakyInputs"


@pytest.fixture(autouse=True)
def temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


@pytest.fixture
def shop(data_dir: Path, tmp_path: Path) -> None:
    load_learning_shop(tmp_path / "export")


def test_a_clean_shop_gets_a_table(shop: None, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("check_leaks", "--campaigns", "2", "--algorithms", "popularity", "--shuffles", "2")

    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert lines[0].startswith("As of ")
    assert "| inputs under another future | popularity | nothing moved |" in lines
    assert "| fits under another future | popularity | nothing moved |" in lines
    assert any(line.startswith("| measured on shuffled labels | popularity | 0.") for line in lines)
    assert any(line.startswith("| trained on shuffled outcomes | popularity | 0.") for line in lines)
    assert lines[-2:] == [
        "No leak was found.",
        "Of the intervals 1 reach more than 0.25 to each side and would show gross leaks only. More shuffles make them "
        "narrower.",
    ]
    assert "Another future for " in output.err
    assert "Another future for " not in output.out


def test_leaks_are_listed_and_the_command_fails(shop: None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CommandError) as error:
        call_command("check_leaks", "--campaigns", "1", "--inputs", LEAKY_PATH)

    head, *leaks = str(error.value).splitlines()
    assert head == f"{len(LEAKY)} leaks:"
    for column, leak in zip(LEAKY, leaks, strict=True):
        assert leak.startswith(f"leaky: {column} knows what comes later: as of ")
        assert " for shopper S" in leak
        assert " and coupon V-" in leak
        assert " with another future (" in leak
    out = capsys.readouterr().out
    assert f"| inputs under another future | leaky | {len(LEAKY)} moved |" in out
    assert "Doubt this: leaky: used_in_the_campaign alone has a ROC-AUC of " in out
    assert "Not checked: fits and shuffled labels, since no algorithm uses these inputs." in out
    assert "No leak was found." not in out


def test_an_empty_shop_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("check_leaks")

    assert capsys.readouterr().out == "Nothing could be checked: nothing was bought yet, or there is no coupon.\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--algorithms", "oracle"], "No algorithm is named oracle. There are: popularity, "),
        (["--inputs", "oracle"], "No inputs are named oracle. There are: popularity, "),
        (["--campaigns", "0"], "'0' is not a whole number from 1 up"),
        (["--shuffles", "1"], "'1' is not a whole number from 2 up"),
        (["--shuffles", "many"], "'many' is not a whole number from 2 up"),
    ],
)
def test_a_mistake_is_one_clear_line(data_dir: Path, options: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message) as error:
        call_command("check_leaks", *options)

    assert "\n" not in str(error.value)
    assert not list(data_dir.iterdir())
