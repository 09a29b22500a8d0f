"""A file that is not what it says stops the load before anything is written, and the message says what and where."""

import gzip
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from recommender.models import Shop
from recommender.services.ingest import LoadRefused, load_export
from tests.services.ingest.exports import EXPORT, as_parquet, contents, write_export

pytestmark = pytest.mark.django_db


def missing_folder(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def missing_file(folder: Path) -> None:
    (folder / "order_lines.csv").unlink()


def the_same_table_twice(folder: Path) -> None:
    pl.read_csv(folder / "orders.csv").write_parquet(folder / "orders.parquet")


def missing_column(folder: Path) -> None:
    (folder / "orders.csv").write_text("order_id,shopper_id,orderd_at\no1,s1,2024-03-01\n")


def missing_column_in_parquet(folder: Path) -> None:
    as_parquet(folder)
    pl.read_parquet(folder / "products.parquet").drop("product_id").write_parquet(folder / "products.parquet")


def wrong_delimiter(folder: Path) -> None:
    (folder / "campaigns.csv").write_text(EXPORT["campaigns"].replace(",", ";"))


def column_twice(folder: Path) -> None:
    (folder / "shoppers.csv").write_text("shopper_id,income,income\ns1,1,2\n")


def latin_1_in_a_row(folder: Path) -> None:
    (folder / "products.csv").write_bytes("product_id,name\np1,ok\np2,Käse\n".encode("latin-1"))


def latin_1_far_down(folder: Path) -> None:
    rows = "".join(f"p{number},ok\n" for number in range(50_000))
    (folder / "products.csv").write_bytes(f"product_id,name\n{rows}p,Käse\n".encode("latin-1"))


def latin_1_in_the_header(folder: Path) -> None:
    (folder / "products.csv").write_bytes("product_id,größe\np1,1\n".encode("latin-1"))


def utf_16(folder: Path) -> None:
    (folder / "products.csv").write_bytes(EXPORT["products"].encode("utf-16"))


def empty_file(folder: Path) -> None:
    (folder / "coupons.csv").write_text("")


def no_table(folder: Path) -> None:
    (folder / "events.csv").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")


def no_gzip(folder: Path) -> None:
    (folder / "events.csv").rename(folder / "events.csv.gz")


def truncated_gzip(folder: Path) -> None:
    (folder / "events.csv").unlink()
    (folder / "events.csv.gz").write_bytes(gzip.compress(EXPORT["events"].encode())[:-20])


def truncated_parquet(folder: Path) -> None:
    as_parquet(folder)
    path = folder / "redemptions.parquet"
    path.write_bytes(path.read_bytes()[:-100])


def parquet_with_a_hole(folder: Path) -> None:
    as_parquet(folder)
    path = folder / "order_lines.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\xff" * 200 + content[204:])


def column_of_lists(folder: Path) -> None:
    (folder / "orders.csv").unlink()
    pl.DataFrame({"order_id": [["o1"]], "shopper_id": ["s1"], "ordered_at": ["2024-03-01"]}).write_parquet(
        folder / "orders.parquet"
    )


def time_of_day_as_a_time(folder: Path) -> None:
    (folder / "orders.csv").unlink()
    pl.DataFrame({"order_id": ["o1"], "shopper_id": ["s1"], "ordered_at": [20240301]}).write_parquet(
        folder / "orders.parquet"
    )


REFUSALS: list[tuple[Callable[[Path], None], list[str]]] = [
    (missing_folder, ["is not a folder. Expected the folder of a shop export."]),
    (
        missing_file,
        ["order_lines is missing", "Expected one of order_lines.csv, order_lines.csv.gz, order_lines.parquet."],
    ),
    (the_same_table_twice, ["orders.csv and orders.parquet hold the same table. Expected one of them."]),
    (
        missing_column,
        [
            "orders.csv: column 'ordered_at' is missing. Expected a header with order_id, shopper_id, ordered_at",
            "'orderd_at'",
        ],
    ),
    (missing_column_in_parquet, ["products.parquet: column 'product_id' is missing."]),
    (wrong_delimiter, ["campaigns.csv: column 'campaign_id' is missing.", "'campaign_id;name;"]),
    (column_twice, ["shoppers.csv: column 'income' comes twice. Expected it once."]),
    (latin_1_in_a_row, ["products.csv cannot be read. Expected UTF-8 text, a table with a header row", "0xe4"]),
    (latin_1_far_down, ["products.csv cannot be read. Expected UTF-8 text, a table with a header row", "Row #50002"]),
    (latin_1_in_the_header, ["products.csv cannot be read. Expected UTF-8 text, a table with a header row"]),
    (utf_16, ["products.csv cannot be read. Expected UTF-8 text, a table with a header row"]),
    (empty_file, ["coupons.csv is empty. Expected UTF-8 text, a table with a header row."]),
    (no_table, ["events.csv cannot be read. Expected UTF-8 text, a table with a header row"]),
    (no_gzip, ["events.csv.gz cannot be read.", "compressed by gzip"]),
    (truncated_gzip, ["events.csv.gz cannot be read.", "compressed by gzip"]),
    (truncated_parquet, ["redemptions.parquet cannot be read. Expected a Parquet file"]),
    (parquet_with_a_hole, ["order_lines.parquet cannot be read. Expected a Parquet file"]),
    (
        column_of_lists,
        ["orders.parquet: column 'order_id' is of type List(String). Expected text of at most 64 characters"],
    ),
    (time_of_day_as_a_time, ["orders.parquet: column 'ordered_at' is of type Int64. Expected a date or time such as"]),
]


@pytest.mark.parametrize(("break_it", "parts"), REFUSALS, ids=[break_it.__name__ for break_it, _ in REFUSALS])
def test_what_is_not_an_export_is_refused_and_nothing_changes(
    tmp_path: Path, data_dir: Path, break_it: Callable[[Path], None], parts: list[str]
) -> None:
    Shop.current()
    before = contents()
    folder = write_export(tmp_path / "export")
    break_it(folder)
    with pytest.raises(LoadRefused) as refusal:
        load_export(folder=folder, max_bad_share=1)
    for part in parts:
        assert part in str(refusal.value)
    assert contents() == before
    assert not list(data_dir.iterdir())
