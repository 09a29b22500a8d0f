"""What all drawings share."""

from io import BytesIO
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK, SOFT = "#1b1f24", "#57606a"
DOTS_PER_INCH = 150


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure whole or not at all; the suffix of the path, ``.png`` or ``.svg``, is the format."""
    drawn = BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(drawn, format=path.suffix.removeprefix("."), dpi=DOTS_PER_INCH)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    aside.write_bytes(drawn.getvalue())
    aside.replace(path)
