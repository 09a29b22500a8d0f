"""The part of a page between the markers is written whole; nothing else of the page moves."""

from pathlib import Path

import pytest

from recommender.ml.evaluation.report import (
    BEGIN,
    END,
    ReportError,
    Section,
    check_page,
    render_sections,
    write_between_markers,
)

PAGE = f"# Title\r\n\nBefore – it.\n\n{BEGIN}\nold\n{END}\n\nAfter it.\n"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_bytes(PAGE.encode())
    return path


def test_sections_stand_under_headings() -> None:
    sections = [Section("One", "| a |\n"), Section("Two", "\n    code\n\nmore")]
    assert render_sections(sections) == "### One\n\n| a |\n\n### Two\n\n    code\n\nmore\n"


def test_what_stands_between_the_markers_is_replaced(page: Path) -> None:
    page.chmod(0o640)
    write_between_markers(page, "new\n")

    written = f"# Title\r\n\nBefore – it.\n\n{BEGIN}\n\nnew\n\n{END}\n\nAfter it.\n".encode()
    assert page.read_bytes() == written
    assert page.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in page.parent.iterdir()] == ["page.md"]
    write_between_markers(page, "new\n")
    assert page.read_bytes() == written


def test_a_link_goes_on_pointing_at_the_page(page: Path) -> None:
    link = page.with_name("link.md")
    link.symlink_to(page)
    write_between_markers(link, "new")

    assert link.is_symlink()
    assert "\nnew\n" in page.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"# Title\n", "page.md has the line <!-- backtest: begin --> 0 times; expected once"),
        (f"{BEGIN}\n".encode(), "page.md has the line <!-- backtest: end --> 0 times; expected once"),
        (f"{BEGIN}{END}{BEGIN}{END}".encode(), "begin --> 2 times; expected once"),
        (f"{END}\n{BEGIN}".encode(), "has the line <!-- backtest: end --> before the line <!-- backtest: begin -->"),
        (b"\xff\xfe", "page.md is not UTF-8 text"),
    ],
)
def test_a_page_without_the_markers_is_refused_and_stays(page: Path, text: bytes, message: str) -> None:
    page.write_bytes(text)

    for refused in (lambda: check_page(page), lambda: write_between_markers(page, "new")):
        with pytest.raises(ReportError, match=message):
            refused()
    assert page.read_bytes() == text


def test_a_page_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"missing\.md cannot be read: No such file or directory"):
        check_page(tmp_path / "missing.md")
    with pytest.raises(ReportError, match="cannot be read: Is a directory"):
        check_page(tmp_path)


def test_a_page_whose_replacement_fails_stays(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        write_between_markers(page, "new")

    assert page.read_bytes() == PAGE.encode()
    assert [path.name for path in page.parent.iterdir()] == ["page.md"]
