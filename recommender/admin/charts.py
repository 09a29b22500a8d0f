"""Charts as numbers that a template draws: no script, no library, and every value can be read as text too."""

from collections.abc import Sequence
from dataclasses import dataclass

#: The size that columns are drawn in; the picture is stretched to its place on the page.
WIDTH, HEIGHT = 1000, 200
GAP = 0.2  # of a column's place


@dataclass(frozen=True)
class Column:
    """A value to draw.

    Attributes:
        shown: the value as text.
        url: where the rows behind it are.
        before: the value that it is compared with, and ``before_shown`` as text.
    """

    label: str
    value: float
    shown: str
    url: str
    before: float | None = None
    before_shown: str = ""


@dataclass(frozen=True)
class DrawnColumn:
    """Where a column is drawn: its rectangle, the place that leads to its rows, and the line of what was before."""

    column: Column
    place_x: str
    place_width: str
    x: str
    y: str
    width: str
    height: str
    before_x1: str
    before_x2: str
    before_y: str


@dataclass(frozen=True)
class ColumnChart:
    columns: list[DrawnColumn]
    top: str
    width: int = WIDTH
    height: int = HEIGHT


def column_chart(columns: Sequence[Column]) -> ColumnChart | None:
    """Columns side by side, the largest as high as the picture. None without any."""
    if not columns:
        return None
    largest = max(columns, key=lambda column: max(column.value, column.before or 0))
    top = max(largest.value, largest.before or 0)
    place = WIDTH / len(columns)

    def height(value: float) -> float:
        return HEIGHT * value / top if top else 0.0

    drawn = []
    for number, column in enumerate(columns):
        x = (number + GAP / 2) * place
        high = height(column.value)
        drawn.append(
            DrawnColumn(
                column=column,
                place_x=f"{number * place:.2f}",
                place_width=f"{place:.2f}",
                x=f"{x:.2f}",
                y=f"{HEIGHT - high:.2f}",
                width=f"{(1 - GAP) * place:.2f}",
                height=f"{high:.2f}",
                before_x1=f"{number * place:.2f}",
                before_x2=f"{(number + 1) * place:.2f}",
                before_y=f"{HEIGHT - height(column.before or 0):.2f}",
            )
        )
    return ColumnChart(drawn, largest.shown if largest.value == top else largest.before_shown)
