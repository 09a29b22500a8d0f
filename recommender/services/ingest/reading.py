"""Files of the shop export as frames, as they stand: nothing is interpreted here but the file's own form."""

import csv
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
from pyarrow import csv as arrow_csv

from recommender.services.ingest.report import LoadRefused
from recommender.services.ingest.tables import LINE, TABLES, Table
from recommender.wording import gettext as _

SUFFIXES = (".csv", ".csv.gz", ".parquet")
BLOCK_BYTES = 8 * 2**20


@dataclass(frozen=True)
class File:
    """A file of the export whose header has been read."""

    table: Table
    path: Path
    columns: tuple[str, ...]

    @property
    def is_parquet(self) -> bool:
        return self.path.suffix == ".parquet"

    @property
    def unknown_columns(self) -> list[str]:
        known = {column.name for column in self.table.columns}
        return [name for name in self.columns if name not in known]

    @property
    def attribute_columns(self) -> list[str]:
        """Columns of the shop's own that are kept. One without a name, or an index that a tool wrote, is not."""
        if not self.table.keeps_unknown_columns:
            return []
        return [name for name in self.unknown_columns if name.strip() and not name.startswith("__index_level_")]

    @property
    def left_out_columns(self) -> list[str]:
        return [name for name in self.unknown_columns if name not in self.attribute_columns]


@dataclass(frozen=True)
class Content:
    """The rows of a file: ``frame`` has the line number in :data:`LINE`; ``malformed`` are lines that are no rows."""

    frame: pl.DataFrame
    malformed: list[tuple[int, str]]


def find_files(folder: Path, *, whole: bool = True) -> list[File]:
    """The export's files in a folder, in the order of :data:`TABLES`, each with its header read and checked.

    Args:
        whole: whether the tables that a shop cannot be without must be there; else any one will do.

    Raises:
        LoadRefused: the folder or a required file or column is missing, a table comes twice, or a header is unreadable.
    """
    if not folder.is_dir():
        raise LoadRefused(_("%(folder)s is not a folder. Expected the folder of a shop export.") % {"folder": folder})
    files = []
    for table in TABLES:
        paths = [path for suffix in SUFFIXES if (path := folder / f"{table.name}{suffix}").is_file()]
        if len(paths) > 1:
            raise LoadRefused(
                _("%(one)s and %(other)s hold the same table. Expected one of them.")
                % {"one": paths[0].name, "other": paths[1].name}
            )
        if paths:
            files.append(_opened(table, paths[0]))
        elif table.required and whole:
            names = ", ".join(f"{table.name}{suffix}" for suffix in SUFFIXES)
            raise LoadRefused(
                _("%(table)s is missing in %(folder)s. Expected one of %(names)s.")
                % {"table": table.name, "folder": folder, "names": names}
            )
    if not files:
        raise LoadRefused(
            _("No file in %(folder)s is named like a table. Expected one of %(tables)s, followed by %(suffixes)s.")
            % {
                "folder": folder,
                "tables": ", ".join(table.name for table in TABLES),
                "suffixes": ", ".join(SUFFIXES),
            }
        )
    return files


def ignored_files(folder: Path, files: list[File]) -> list[str]:
    """What else lies in the folder: most often a file whose name is misspelt."""
    return sorted({path.name for path in folder.iterdir()} - {file.path.name for file in files})


def read_file(file: File) -> Content:
    """Read a whole file.

    Raises:
        LoadRefused: it is not what its name says.
    """
    with _refusing(file.path):
        return _read_parquet(file) if file.is_parquet else _read_csv(file)


def _opened(table: Table, path: Path) -> File:
    with _refusing(path):
        columns = tuple(pl.read_parquet_schema(path)) if path.suffix == ".parquet" else _csv_header(path)
    for name in columns:
        if columns.count(name) > 1 and name.strip():
            raise LoadRefused(
                _("%(file)s: column '%(column)s' comes twice. Expected it once.") % {"file": path.name, "column": name}
            )
    for column in table.columns:
        if column.required and column.name not in columns:
            expected = ", ".join(column.name for column in table.columns if column.required)
            raise LoadRefused(
                _("%(file)s: column '%(column)s' is missing. Expected a header with %(expected)s; found %(found)s.")
                % {
                    "file": path.name,
                    "column": column.name,
                    "expected": expected,
                    "found": ", ".join(map(repr, columns))[:300],
                }
            )
    return File(table, path, columns)


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn what the readers raise for a file that is not what it says into a refusal that says so."""
    expected = _("UTF-8 text, a table with a header row")
    if path.suffix == ".parquet":
        expected = _("a Parquet file")
    elif path.suffix == ".gz":
        expected = _("UTF-8 text, a table with a header row, compressed by gzip")
    told = _("%(file)s cannot be read. Expected %(expected)s: %(error)s")
    try:
        yield
    except UnicodeDecodeError as error:
        raise LoadRefused(told % {"file": path.name, "expected": expected, "error": error}) from error
    except (OSError, EOFError, csv.Error, pa.ArrowException, pl.exceptions.PolarsError) as error:
        raise LoadRefused(told % {"file": path.name, "expected": expected, "error": str(error)[:300]}) from error


def _csv_header(path: Path) -> tuple[str, ...]:
    opening = gzip.open if path.suffix == ".gz" else open
    with opening(path, "rt", encoding="utf-8-sig", newline="") as text:
        header = next(csv.reader(text), None)
    if not header:
        raise LoadRefused(_("%(file)s is empty. Expected UTF-8 text, a table with a header row.") % {"file": path.name})
    return tuple(header)


def _read_csv(file: File) -> Content:
    """Read every cell as text.

    Rows are numbered by the reader, from 1 for the header; a line number also counts the line ends inside quotes above.
    """
    invalid: list[arrow_csv.InvalidRow] = []

    def skip(row: arrow_csv.InvalidRow) -> str:
        invalid.append(row)
        return "skip"

    names = [str(number) for number in range(len(file.columns))]  # a header may lack a name
    with pa.input_stream(file.path, compression="gzip" if file.path.suffix == ".gz" else None) as stream:
        arrow = arrow_csv.read_csv(
            stream,
            # One thread, because only then the reader knows the number of a row that is no row.
            read_options=arrow_csv.ReadOptions(
                use_threads=False, block_size=BLOCK_BYTES, column_names=names, skip_rows=0
            ),
            parse_options=arrow_csv.ParseOptions(
                newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=skip
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
    frame = pl.DataFrame(pl.from_arrow(arrow))
    rows = pl.Series(LINE, range(1, frame.height + len(invalid) + 1), dtype=pl.Int64)
    if invalid:
        rows = rows.filter(~rows.is_in([row.number for row in invalid]))
    line_ends = pl.sum_horizontal(pl.all().str.count_matches("\n", literal=True).fill_null(0)).cast(pl.Int64)
    inside = frame.select(pl.lit(rows).alias(LINE), line_ends.alias("inside")).filter(pl.col("inside") > 0)
    inside = pl.concat(
        [
            inside,
            pl.DataFrame(
                {LINE: [row.number for row in invalid], "inside": [row.text.count("\n") for row in invalid]},
                schema=inside.schema,
            ),
        ]
    ).sort(LINE)
    lines = _lines_of(rows, inside)
    malformed_lines = _lines_of(pl.Series(LINE, [row.number for row in invalid], dtype=pl.Int64), inside)
    malformed: list[tuple[int, str]] = [
        (
            line,
            _("%(found)d values. Expected %(expected)d, as in the header.")
            % {"found": row.actual_columns, "expected": row.expected_columns},
        )
        for line, row in zip(malformed_lines, invalid, strict=True)
    ]
    frame = frame.with_columns(lines.alias(LINE))
    frame = frame.filter(pl.col(LINE) > 1, ~pl.all_horizontal(pl.col(names).is_null()))  # the header, empty lines
    wanted = {name: file.columns[int(name)] for name in names if file.columns[int(name)] not in file.left_out_columns}
    return Content(frame.select(pl.col(LINE), *(pl.col(name).alias(as_) for name, as_ in wanted.items())), malformed)


def _lines_of(rows: pl.Series, inside: pl.DataFrame) -> pl.Series:
    """The lines on which rows begin, given the rows that go over several lines."""
    if inside.is_empty():
        return rows
    before = inside.select(pl.col(LINE) + 1, above=pl.col("inside").cum_sum())
    joined = rows.to_frame().join_asof(before, on=LINE, strategy="backward")
    return joined.select(pl.col(LINE) + pl.col("above").fill_null(0)).to_series()


def _read_parquet(file: File) -> Content:
    wanted = [name for name in file.columns if name not in file.left_out_columns]
    frame = pl.read_parquet(file.path, columns=wanted)
    categories = [name for name, dtype in frame.schema.items() if dtype in (pl.Categorical, pl.Enum)]
    return Content(frame.with_columns(pl.col(categories).cast(pl.String)).with_row_index(LINE, offset=1), [])
