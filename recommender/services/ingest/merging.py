"""Staged rows against the tables: which are new, which changed, which refer to nothing; and the writing.

Planning turns the shop's identifiers into primary keys. What is not in the database yet has a negative number for the
time being, so that rows can be compared as if it were; writing gives it its key and puts that in the number's place.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl
from django.db import connection, models

from recommender.bulk import delete_rows, insert_frame, read_frame, staged_values, update_frame
from recommender.models import CATEGORY_SEPARATOR, Category, GroupBuy, GroupBuyMember, Redemption
from recommender.progress import Progress
from recommender.services.counters import recount_many
from recommender.services.ingest.groups import settle_groups
from recommender.services.ingest.kinds import TIME
from recommender.services.ingest.payers import with_amounts_of_sellers, with_payers
from recommender.services.ingest.staging import ATTRIBUTES, Staged
from recommender.services.ingest.tables import CATEGORIES, LINE, TABLES, Table
from recommender.wording import gettext as _

NUMBERS = {"identifier": pl.String, "number": pl.Int64}
IDENTIFIED = {table.name: (table.model, table.identifier) for table in TABLES if table.identifier}
IDENTIFIED[CATEGORIES] = (Category, "path")


@dataclass
class Plan:
    """What is to be written of one file: ``changed`` has the primary key in ``id``, ``removed`` are primary keys."""

    table: Table
    new: pl.DataFrame
    changed: pl.DataFrame
    removed: pl.Series


class Merger:
    """Plans and writes the files of one load, inside a transaction that the caller holds."""

    def __init__(self, staged: list[Staged], max_bad_share: float) -> None:
        self._staged = staged
        self._max_bad_share = max_bad_share
        self._numbers: dict[str, pl.DataFrame] = {}
        self.plans: list[Plan] = []

    def plan(self, progress: Progress) -> None:
        """Compare every file with its table.

        Raises:
            LoadRefused: too many rows of a file refer to what does not exist.
        """
        for done, staged in enumerate(self._staged):
            progress.report(_("Comparing %(name)s") % {"name": staged.file.path.name}, done, len(self._staged))
            table = staged.file.table
            if table.name == "products":
                paths = (
                    staged.frame["category_id"]
                    if "category_id" in staged.frame.columns
                    else pl.Series([], dtype=pl.String)
                )
                self._number(CATEGORIES, with_ancestors(paths))
            self._resolve_references(staged)
            staged.refuse_if_too_bad(self._max_bad_share)
            if table.identifier:
                self._number(table.name, staged.frame[table.identifier])
            self.plans.append(_compare(staged))
            staged.frame = staged.frame.clear()

    def write(self, progress: Progress) -> None:
        """Write what :meth:`plan` found.

        Raises:
            LoadRefused: the members of a group do not fit it.
        """
        self._write_categories()
        for done, plan in enumerate(self.plans):
            progress.report(_("Writing %(table)s") % {"table": plan.table.name}, done, len(self.plans))
            if not plan.removed.is_empty():
                delete_rows(plan.table.model, plan.removed)
            new, changed = self._with_keys(plan.table, plan.new), self._with_keys(plan.table, plan.changed)
            if plan.table.model is Redemption:
                new = with_payers(new)
                changed = with_amounts_of_sellers(changed) if "discount_amount" in changed.columns else changed
            if not new.is_empty():
                insert_frame(plan.table.model, new)
            if not changed.is_empty():
                update_frame(plan.table.model, changed)
            if plan.table.model is Redemption:
                _recount(new, changed)
            if plan.table.identifier:
                self._take_keys(plan.table.name)
            plan.new, plan.changed = plan.new.clear(), plan.changed.clear()
        if any(plan.table.model in (GroupBuy, GroupBuyMember) for plan in self.plans):
            settle_groups()

    # Identifiers and numbers

    def _number(self, name: str, in_file: pl.Series) -> None:
        """Give a number to every identifier that is in the file, or is referred to and in the database."""
        referred = [
            staged.frame[column.attribute]
            for staged in self._staged
            for column in staged.file.table.columns
            if column.refers_to == name and column.attribute in staged.frame.columns
        ]
        wanted = pl.concat([in_file.rename("identifier"), *(series.rename("identifier") for series in referred)])
        stored = _stored_keys(name, wanted.drop_nulls().unique())
        added = in_file.rename("identifier").drop_nulls().unique(maintain_order=True)
        added = added.filter(~added.is_in(stored["identifier"].implode()))
        provisional = pl.Series("number", range(-1, -1 - len(added), -1), dtype=pl.Int64)
        self._numbers[name] = pl.concat([stored, pl.DataFrame([added, provisional], schema=NUMBERS)])

    def _resolve_references(self, staged: Staged) -> None:
        """Put numbers in the place of identifiers, and aside the rows whose identifier nobody knows."""
        for column in staged.file.table.columns:
            if column.refers_to is None or column.attribute not in staged.frame.columns:
                continue
            if column.refers_to not in self._numbers:  # its file is not in this export
                self._number(column.refers_to, pl.Series([], dtype=pl.String))
            identifiers = staged.frame.select(pl.col(column.attribute).cast(pl.String).alias("identifier"))
            numbers = identifiers.join(
                self._numbers[column.refers_to], on="identifier", how="left", maintain_order="left"
            )["number"]
            unknown = identifiers["identifier"].is_not_null() & numbers.is_null()
            staged.put_aside(
                unknown,
                column.name,
                _("'%(value)s' is neither among the %(table)s of the export nor in the database."),
                value=pl.col(column.attribute).cast(pl.String),
                table=pl.lit(column.refers_to),
            )
            staged.frame = staged.frame.with_columns(numbers.filter(~unknown).alias(column.attribute))

    def _take_keys(self, name: str) -> None:
        """Pair the provisional numbers of what has been inserted with its primary keys."""
        numbers = self._numbers[name]
        added = numbers.filter(pl.col("number") < 0)
        keys = _stored_keys(name, added["identifier"]).rename({"number": "key"})
        self._numbers[name] = added.join(keys, on="identifier").select("number", "key")

    def _with_keys(self, table: Table, frame: pl.DataFrame) -> pl.DataFrame:
        """Put primary keys in the place of provisional numbers."""
        for column in table.columns:
            if column.refers_to is None or column.attribute not in frame.columns:
                continue
            provisional = frame.select(pl.col(column.attribute).alias("number"))
            if provisional["number"].min() is None or provisional["number"].min() > 0:  # type: ignore[operator]
                continue
            keys = provisional.join(self._numbers[column.refers_to], on="number", how="left", maintain_order="left")
            frame = frame.with_columns(keys.select(pl.coalesce("key", "number").alias(column.attribute)).to_series())
        return frame

    def _write_categories(self) -> None:
        """Insert the new levels of the catalogue, parents first."""
        if CATEGORIES not in self._numbers:  # no file of the export speaks of them
            return
        added = self._numbers[CATEGORIES].filter(pl.col("number") < 0)["identifier"]
        levels = pl.DataFrame({"path": added}).with_columns(
            depth=pl.col("path").str.count_matches(CATEGORY_SEPARATOR, literal=True),
            parent=_parent_of(pl.col("path")),
        )
        for _depth, level in sorted(levels.group_by("depth"), key=lambda group: group[0]):
            parents = _stored_keys(CATEGORIES, level["parent"].drop_nulls().unique())
            with_parents = level.join(parents, left_on="parent", right_on="identifier", how="left")
            insert_frame(Category, with_parents.select("path", pl.col("number").alias("parent_id")))
        self._take_keys(CATEGORIES)


def _recount(new: pl.DataFrame, changed: pl.DataFrame) -> None:
    """Count the uses that a load brings or changes; those who use the same coupons wait until it is committed."""
    keys = {
        name: set(new[name].drop_nulls()) if name in new.columns else set() for name in ("coupon_id", "campaign_id")
    }
    if not changed.is_empty():
        with staged_values(Redemption, "id", changed["id"]) as ids:
            for coupon, campaign in (
                Redemption.objects.filter(pk__in=ids).values_list("coupon_id", "campaign_id").distinct()
            ):
                keys["coupon_id"].add(coupon)
                keys["campaign_id"].add(campaign)
    recount_many(coupons=keys["coupon_id"], campaigns=keys["campaign_id"] - {None})


def with_ancestors(paths: pl.Series) -> pl.Series:
    """Every path and every level above it, once."""
    levels = found = paths.drop_nulls().unique(maintain_order=True).rename("path")
    while not levels.is_empty():
        levels = (
            levels.to_frame().select(_parent_of(pl.col("path"))).to_series().drop_nulls().unique(maintain_order=True)
        )
        found = pl.concat([found, levels])
    return found.unique(maintain_order=True)


def _parent_of(path: pl.Expr) -> pl.Expr:
    levels = path.str.split(CATEGORY_SEPARATOR)
    return pl.when(levels.list.len() > 1).then(levels.list.head(levels.list.len() - 1).list.join(CATEGORY_SEPARATOR))


def _stored_keys(name: str, identifiers: pl.Series) -> pl.DataFrame:
    """The primary keys of what is in the database, of all these identifiers."""
    model, attribute = IDENTIFIED[name]
    assert attribute is not None
    if identifiers.is_empty() or not model._default_manager.exists():
        return pl.DataFrame(schema=NUMBERS)
    with staged_values(model, attribute, identifiers) as values:
        rows = model._default_manager.filter(**{f"{attribute}__in": values})
        stored = read_frame(rows.values_list(attribute, "pk"), NUMBERS)
    return _as_staged(model, stored.rename({"identifier": attribute})).rename({attribute: "identifier"})


def _compare(staged: Staged) -> Plan:
    """Tell new rows from changed ones, and count."""
    table = staged.file.table
    incoming = _with_whole_key(table, staged.frame).drop(LINE)
    stored = _stored_rows(table, incoming)
    values = [name for name in incoming.columns if name not in table.key]
    paired = incoming.join(
        stored, on=list(table.key), how="left", nulls_equal=True, suffix=" stored", maintain_order="left"
    )
    differs = pl.any_horizontal(pl.lit(False), *(pl.col(name).ne_missing(pl.col(f"{name} stored")) for name in values))
    is_new = pl.col("id").is_null()
    new = paired.filter(is_new).select(incoming.columns)
    changed = paired.filter(~is_new & differs).select("id", *values)
    removed = pl.Series("id", [], dtype=pl.Int64)
    if table.replaced_with:
        removed = stored.join(incoming, on=list(table.key), how="anti", nulls_equal=True)["id"]
    report = staged.report
    report.put_aside = len(staged.rejected)
    report.new, report.changed, report.removed = new.height, changed.height, len(removed)
    report.unchanged = incoming.height - new.height - changed.height
    return Plan(table, _with_defaults(table, new), changed, removed)


def _with_whole_key(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """Add what the key needs and the file has not: columns that it may lack, and a line's place in its order."""
    if "position" in table.key:
        frame = frame.with_columns(
            (pl.col("order_id").cum_count().over("order_id") - 1).cast(pl.Int64).alias("position")
        )
    absent = [
        column for column in table.columns if column.attribute in table.key and column.attribute not in frame.columns
    ]
    return frame.with_columns(_empty(table, column.attribute, column.empty) for column in absent)


def _with_defaults(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """Give new rows what the file has no column for."""
    absent = {column.attribute: column.empty for column in table.columns if column.name != "event_id"} | table.fixed
    if table.keeps_unknown_columns:
        absent[ATTRIBUTES] = "{}"
    return frame.with_columns(_empty(table, name, value) for name, value in absent.items() if name not in frame.columns)


def _empty(table: Table, attribute: str, value: str | bool | int | None) -> pl.Expr:
    return pl.lit(value).cast(_types(table.model)[attribute]).alias(attribute)


def _stored_rows(table: Table, incoming: pl.DataFrame) -> pl.DataFrame:
    """The table's rows that can be meant by the incoming ones: those that share the first column of the key."""
    types = _types(table.model)
    schema = {"id": pl.Int64, **{name: types[name] for name in incoming.columns}}
    lookup = table.key[0]
    values = incoming[lookup].unique()
    if values.dtype == pl.Int64:
        values = values.filter(values > 0)
    if values.is_empty() or not table.model._default_manager.exists():
        return pl.DataFrame(schema=schema)
    with staged_values(table.model, lookup, values) as staged:
        rows = table.model._default_manager.filter(**{f"{lookup}__in": staged})
        stored = read_frame(rows.values_list("pk", *incoming.columns), schema)
    if ATTRIBUTES in stored.columns:
        stored = stored.with_columns(_canonical_json(stored[ATTRIBUTES]))
    return _as_staged(table.model, stored)


def _as_staged(model: type[models.Model], frame: pl.DataFrame) -> pl.DataFrame:
    """UUIDs as staging writes them: PostgreSQL tells them with hyphens."""
    names = {field.attname for field in model._meta.concrete_fields if isinstance(field, models.UUIDField)}
    return frame.with_columns(
        pl.col(name).str.replace_all("-", "", literal=True) for name in names & set(frame.columns)
    )


def _canonical_json(texts: pl.Series) -> pl.Series:
    """JSON in the form in which staging writes it: PostgreSQL keeps an order of its own."""
    unique = texts.unique()
    canonical = [json.dumps(json.loads(text), sort_keys=True) for text in unique]
    return texts.replace_strict(unique, canonical, return_dtype=pl.String)


def _types(model: type[models.Model]) -> dict[str, pl.DataType | type[pl.DataType]]:
    """The polars types of a model's attributes."""
    return {field.attname: _type(field) for field in model._meta.concrete_fields}


def _type(field: models.Field) -> pl.DataType | type[pl.DataType]:
    match field:
        case models.DecimalField():
            return pl.Decimal(field.max_digits, field.decimal_places)
        case models.DateTimeField():
            return TIME
        case models.BooleanField():
            return pl.Boolean
        case models.FloatField():
            return pl.Float64
        case models.CharField() | models.JSONField() | models.UUIDField():
            return pl.String
        case _:
            return pl.Int64


def lock_tables(tables: Iterable[Table]) -> None:
    """Keep other writers of these tables waiting until the transaction ends; readers go on.

    On SQLite the transaction itself does: it is opened IMMEDIATE.
    """
    if connection.vendor != "postgresql":
        return
    names = {Category._meta.db_table, *(table.model._meta.db_table for table in tables)}
    with connection.cursor() as cursor:
        # In one order always, so that two loads do not wait for each other.
        quoted = ", ".join(connection.ops.quote_name(name) for name in sorted(names))
        cursor.execute(f"LOCK TABLE {quoted} IN SHARE ROW EXCLUSIVE MODE")
