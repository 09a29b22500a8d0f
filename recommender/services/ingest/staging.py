"""Files as typed frames in memory: what can be told of a row by its file alone is told here, before any writing."""

import json
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import polars as pl

from recommender.services.event_key import event_key
from recommender.services.ingest.kinds import UnreadableTypeError
from recommender.services.ingest.reading import Content, File, read_file
from recommender.services.ingest.report import FileReport, LoadRefused, RejectedRow
from recommender.services.ingest.tables import ATTRIBUTE, LINE, Column
from recommender.wording import gettext as _

ATTRIBUTES = "attributes"
#: How much of a wrong value a reason repeats.
SHOWN_CHARACTERS = 60


@dataclass
class Staged:
    """The good rows of a file, by the attributes of its model; references are still the shop's identifiers."""

    file: File
    frame: pl.DataFrame
    report: FileReport
    rejected: list[RejectedRow] = field(default_factory=list)

    def put_aside(self, wrong: pl.Series, column: str, reason: str, **facts: pl.Expr) -> None:
        """Take rows out of the frame, with a reason that may have facts of each."""
        if not wrong.any():
            return
        rows = self.frame.select(LINE, **facts).filter(wrong)
        for row in rows.iter_rows(named=True):
            line = row.pop(LINE)
            told = reason % row if row else reason
            self.rejected.append(RejectedRow(self.file.path.name, line, column, told))
        self.frame = self.frame.filter(~wrong)

    def refuse_if_too_bad(self, max_bad_share: float) -> None:
        """Raise LoadRefused when more rows than the stated share were put aside."""
        if len(self.rejected) <= max_bad_share * self.report.rows:
            return
        raise LoadRefused(
            _("%(file)s: %(bad)s of %(rows)s rows are bad, more than %(most)s of them. Nothing was loaded. %(first)s")
            % {
                "file": self.file.path.name,
                "bad": f"{len(self.rejected):,}",
                "rows": f"{self.report.rows:,}",
                "most": f"{max_bad_share:.4%}",
                "first": [
                    _("line %(line)d, %(column)s: %(reason)s")
                    % {"line": row.line, "column": row.column or _("row"), "reason": row.reason}
                    for row in self.rejected[:3]
                ],
            }
        )


def stage_file(file: File, zone: ZoneInfo) -> Staged:
    """Read a file and turn its rows into the types of the tables.

    Raises:
        LoadRefused: the file is not what it says.
    """
    content = read_file(file)
    staged = Staged(file, content.frame, _empty_report(file, content))
    staged.rejected += [RejectedRow(file.path.name, line, "", reason) for line, reason in content.malformed]
    columns = [column for column in file.table.columns if column.name in file.columns]
    columns += [Column(name, ATTRIBUTE) for name in file.attribute_columns]
    _parse(staged, columns, zone)
    for check in file.table.checks:
        absent = [column.name for column in file.table.columns if column.name not in file.columns]
        checked = staged.frame.with_columns(pl.lit(None).alias(name) for name in absent)
        wrong = checked.select(check.wrong.fill_null(False)).to_series()
        staged.put_aside(wrong, check.column, _(check.reason))
    if file.table.name == "events":
        staged.frame = _with_event_keys(staged.frame)
    _put_duplicates_aside(staged)
    staged.frame = _as_attributes(staged)
    return staged


def _empty_report(file: File, content: Content) -> FileReport:
    return FileReport(
        file.path.name,
        rows=content.frame.height + len(content.malformed),
        left_out_columns=file.left_out_columns,
    )


def _parse(staged: Staged, columns: list[Column], zone: ZoneInfo) -> None:
    """Replace the raw columns by their values; put aside the rows of which a value is missing or cannot be read."""
    raw = staged.frame
    values: list[pl.Expr] = [pl.col(LINE)]
    for column in columns:
        try:
            values.append(column.kind.parse(pl.col(column.name), raw.schema[column.name], zone).alias(column.name))
        except UnreadableTypeError as error:
            raise LoadRefused(
                _("%(file)s: column '%(column)s' is of type %(type)s. Expected %(expected)s.")
                % {
                    "file": staged.file.path.name,
                    "column": column.name,
                    "type": error,
                    "expected": column.kind.expected,
                }
            ) from error
    try:
        parsed = raw.lazy().select(values).collect()
    except pl.exceptions.PolarsError as error:
        raise LoadRefused(
            _("%(file)s cannot be read: %(error)s") % {"file": staged.file.path.name, "error": str(error)[:300]}
        ) from error

    given = {column.name: _is_given(pl.col(column.name), raw.schema[column.name]) for column in columns}
    has_value = raw.lazy().select(**given).collect()
    wrong_by_column = {
        column.name: parsed[column.name].is_null() & (True if column.required else has_value[column.name])
        for column in columns
    }
    wrong = pl.select(pl.any_horizontal(*wrong_by_column.values())).to_series()
    if wrong.any():
        _reject(staged, raw, columns, wrong_by_column)
    staged.frame = parsed.filter(~wrong)


def _reject(staged: Staged, raw: pl.DataFrame, columns: list[Column], wrong_by_column: dict[str, pl.Series]) -> None:
    """Put aside each row for the first of its columns that is wrong."""
    left = pl.Series([True]).new_from_index(0, raw.height)
    for column in columns:
        wrong = wrong_by_column[column.name] & left
        expected = column.kind.expected
        left &= ~wrong
        for line, value in raw.filter(wrong).select(LINE, pl.col(column.name)).iter_rows():
            if value is None or value == "":
                reason = _("Missing. Expected %(expected)s.") % {"expected": expected}
            else:
                reason = _("%(value)s is wrong. Expected %(expected)s.") % {
                    "value": repr(str(value)[:SHOWN_CHARACTERS]),
                    "expected": expected,
                }
            staged.rejected.append(RejectedRow(staged.file.path.name, line, column.name, reason))


def _is_given(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.String:
        return column.is_not_null() & (column != "")
    return column.fill_nan(None).is_not_null() if dtype.is_float() else column.is_not_null()


def _with_event_keys(frame: pl.DataFrame) -> pl.DataFrame:
    """Add ``event_key`` in the place of ``event_id``."""
    names = ["shopper_id", "kind", "occurred_at", "coupon_id", "product_id", "campaign_id", "value"]
    given = ["event_id", *names]
    absent = [pl.lit(None, dtype=pl.String).alias(name) for name in given if name not in frame.columns]
    keys = [event_key(**row) for row in frame.select(pl.all(), *absent).select(given).iter_rows(named=True)]
    return frame.drop("event_id", strict=False).with_columns(pl.Series("event_key", keys, dtype=pl.String))


def _put_duplicates_aside(staged: Staged) -> None:
    """Of rows with the same key the first stands."""
    table = staged.file.table
    names = {column.attribute: column.name for column in table.columns}
    key = [names.get(attribute, attribute) for attribute in table.key]
    key = [name for name in key if name in staged.frame.columns]
    if table.name == "order_lines":  # a product may come twice in a basket: the key is the line's place
        return
    repeated = staged.frame.select(~pl.struct(key).is_first_distinct()).to_series()
    if not repeated.any():
        return
    staged.put_aside(
        repeated,
        key[0] if table.name != "events" else "event_id",
        _("Repeats line %(line)d: the same %(columns)s."),
        line=pl.col(LINE).first().over(key),
        columns=pl.lit(", ".join(key)),
    )


def _as_attributes(staged: Staged) -> pl.DataFrame:
    """Rename the columns as the model's attributes are named, fill what is empty, gather the shop's own columns."""
    table, frame = staged.file.table, staged.frame
    values = [pl.col(LINE)]
    for column in table.columns:
        if column.name in frame.columns:
            value = pl.col(column.name)
            value = value if column.empty is None else value.fill_null(pl.lit(column.empty))
            values.append(value.alias(column.attribute))
    if "event_key" in table.key:
        values.append(pl.col("event_key"))
    gathered = frame.select(values)
    if own := staged.file.attribute_columns:
        # Far fewer combinations than rows, as a rule.
        unique = frame.select(own).unique(maintain_order=True)
        texts = [
            json.dumps({name: value for name, value in row.items() if value is not None}, sort_keys=True)
            for row in unique.iter_rows(named=True)
        ]
        with_texts = unique.with_columns(pl.Series(LINE, texts, dtype=pl.String))  # a name that none of them has
        joined = frame.select(own).join(with_texts, on=own, how="left", nulls_equal=True, maintain_order="left")
        gathered = gathered.with_columns(joined[LINE].alias(ATTRIBUTES))
    return gathered
