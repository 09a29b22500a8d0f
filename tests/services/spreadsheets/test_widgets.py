"""Cells are read exactly or not at all."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone
from import_export.widgets import Widget

from recommender.services.spreadsheets.widgets import (
    ExactWidget,
    FlagWidget,
    MomentWidget,
    RealWidget,
    TextWidget,
    WholeWidget,
)


@pytest.mark.parametrize(
    ("widget", "cell", "value"),
    [
        (TextWidget(), None, ""),
        (TextWidget(), 1234.0, "1234"),
        (TextWidget(), "007", "007"),
        (TextWidget(), "'=1+1", "=1+1"),
        (TextWidget(), "'tis", "'tis"),
        (FlagWidget(), True, True),
        (FlagWidget(), "FALSE", False),
        (FlagWidget(empty=True), "", True),
        (FlagWidget(), None, False),
        (ExactWidget(), "12.50", Decimal("12.50")),
        (ExactWidget(), 0.1 + 0.2, Decimal("0.3")),
        (ExactWidget(), 5, Decimal(5)),
        (ExactWidget(), "", None),
        (WholeWidget(), 3.0, 3),
        (WholeWidget(), "12", 12),
        (WholeWidget(), "", None),
        (RealWidget(), "4.5", 4.5),
        (MomentWidget(), "", None),
        (MomentWidget(), "2024-03-01", datetime(2024, 2, 29, 23, tzinfo=UTC)),
        (MomentWidget(), "2024-03-01 18:30", datetime(2024, 3, 1, 17, 30, tzinfo=UTC)),
        (MomentWidget(), "2024-03-01T18:30:00+00:00", datetime(2024, 3, 1, 18, 30, tzinfo=UTC)),
        (MomentWidget(), datetime(2024, 3, 1, 12), datetime(2024, 3, 1, 11, tzinfo=UTC)),
        (MomentWidget(through_day=True), "2024-03-31", datetime(2024, 3, 31, 22, tzinfo=UTC)),
        (MomentWidget(through_day=True), "2024-03-31 12:00", datetime(2024, 3, 31, 10, tzinfo=UTC)),
    ],
)
def test_a_cell_is_read(widget: Widget, cell: Any, value: object) -> None:
    with timezone.override("Europe/Berlin"):
        assert widget.clean(cell) == value


@pytest.mark.parametrize(
    ("widget", "cell", "problem"),
    [
        (FlagWidget(), "yes", "Expected true or false, not yes"),
        (ExactWidget(), "12,50", "Expected a number such as 12.50, not 12,50"),
        (ExactWidget(), "NaN", "Expected a number"),
        (ExactWidget(), True, "Expected a number"),
        (WholeWidget(), "2.5", "Expected a whole number from 0 to 2147483647, not 2.5"),
        (WholeWidget(), "-1", "Expected a whole number"),
        (WholeWidget(), "9999999999", "Expected a whole number"),
        (RealWidget(), "Infinity", "Expected a number"),
        (MomentWidget(), "soon", "Expected a date or time such as 2024-03-01"),
        (MomentWidget(), "2024-02-30", "Expected a date or time"),
    ],
)
def test_a_cell_that_cannot_be_read_says_what_was_expected(widget: Widget, cell: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        widget.clean(cell)


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1", "-1", "@x", "'=x", "plain", "'tis", ""])
def test_text_comes_back_and_is_no_formula(text: str) -> None:
    cell = TextWidget().render(text)
    assert cell[:1] not in ("=", "+", "-", "@")
    assert TextWidget().clean(cell) == text
