"""Charts as numbers that a template draws: no script, no library, and every value can be read as text too."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: The size that columns are drawn in; the picture is stretched to its place on the page.
WIDTH, HEIGHT = 1000, 200
GAP = 0.2  # of a column's place


@dataclass(frozen=True)
class Column:
    """A value to draw.

    Attributes:
        shown: the value as text.
        url: where the rows behind it are; empty where there is no list of them.
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


# Lines

#: The side of the square that lines are drawn in.
SIDE = 100
#: So many lines have a colour and a dash of their own; more begin again.
STYLES = 12


@dataclass(frozen=True)
class Line:
    """A curve by its points. ``style`` is its colour and dash, the same in all charts of a page."""

    name: str
    style: int
    points: Sequence[Sequence[float]]


@dataclass(frozen=True)
class LineChart:
    """Lines, each with its points as SVG takes them, and what the axes go up to."""

    title: str
    x_title: str
    y_title: str
    x_top: str
    y_top: str
    lines: list[tuple[Line, str]]
    diagonal: bool
    side: int = SIDE


def line_chart(
    *,
    title: str,
    x_title: str,
    y_title: str,
    lines: Sequence[Line],
    diagonal: bool = False,
    to_one: bool = True,
    shown: Callable[[float, float], tuple[str, str]] | None = None,
) -> LineChart | None:
    """Lines in one square, from 0 up. None without a point.

    Args:
        diagonal: whether the line of equal x and y is drawn; both axes then go up to the same.
        to_one: whether the axes go up to 1, or only as far as the points do.
        shown: what the axes go up to as text, given both; as percent if it is not given.
    """
    points = [point for line in lines for point in line.points]
    if not points:
        return None
    x_top = 1.0 if to_one else max(point[0] for point in points) or 1.0
    y_top = 1.0 if to_one else max(point[1] for point in points) or 1.0
    if diagonal:
        x_top = y_top = max(x_top, y_top)

    def drawn(line: Line) -> str:
        return " ".join(f"{SIDE * x / x_top:.2f},{SIDE - SIDE * y / y_top:.2f}" for x, y, *_rest in line.points)

    tops = (f"{100 * x_top:.3g} %", f"{100 * y_top:.3g} %") if shown is None else shown(x_top, y_top)
    return LineChart(
        title=title,
        x_title=x_title,
        y_title=y_title,
        x_top=tops[0],
        y_top=tops[1],
        lines=[(line, drawn(line)) for line in lines if line.points],
        diagonal=diagonal,
    )
