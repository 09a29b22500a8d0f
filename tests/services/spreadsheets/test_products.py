"""Products go out as a sheet and come in again."""

import io
import zipfile
from decimal import Decimal

import pytest
from tablib import Dataset
from xlsxwriter import Workbook

from recommender.models import Category, Product
from recommender.services.spreadsheets import formats
from recommender.services.spreadsheets.formats import BoundedCSV, BoundedXLSX, SpreadsheetRefused
from recommender.services.spreadsheets.products import ProductResource

SHEET = "product_id,name,category,price,active\np1,Ice,Grocery / Ice,2.5,true\np2,Bread,,,\n"


@pytest.mark.django_db
class TestProducts:
    @pytest.fixture(autouse=True)
    def category(self) -> Category:
        return Category.objects.create(path="Grocery / Ice")

    @pytest.mark.parametrize("format_class", [BoundedCSV, BoundedXLSX])
    def test_out_and_in_again(self, format_class: type[BoundedCSV | BoundedXLSX]) -> None:
        ProductResource().import_data(Dataset().load(SHEET, format="csv"), raise_errors=True)
        Product.objects.filter(product_id="p1").update(attributes={"size": "22 LB"})
        rows = list(Product.objects.order_by("pk").values())
        assert [(row["product_id"], row["price"], row["active"]) for row in rows] == [
            ("p1", Decimal("2.5"), True),
            ("p2", None, True),
        ]
        written = format_class().export_data(ProductResource().export(queryset=Product.objects.order_by("pk")))
        result = ProductResource().import_data(format_class().create_dataset(written), raise_errors=True)
        assert (result.totals["skip"], list(Product.objects.order_by("pk").values())) == (2, rows)

    def test_an_unknown_category_is_an_error(self) -> None:
        result = ProductResource().import_data(Dataset().load(SHEET.replace("Ice,2", "Iec,2"), format="csv"))
        assert result.invalid_rows[0].error_dict == {"category": ["There is no category Grocery / Iec."]}


class TestFormats:
    def test_empty_rows_at_the_end_are_none(self) -> None:
        dataset = BoundedCSV().create_dataset("a,b\n1,2\n,\n3,4\n,\n,\n")
        assert dataset.dict == [{"a": "1", "b": "2"}, {"a": "", "b": ""}, {"a": "3", "b": "4"}]

    def test_a_text_in_another_encoding_is_refused(self) -> None:
        with pytest.raises(SpreadsheetRefused, match="not UTF-8"):
            BoundedCSV(encoding="utf-8-sig").create_dataset("Käse".encode("latin-1"))

    @pytest.mark.parametrize("content", [b"product_id\n1\n", b"PK\x03\x04"])
    def test_what_is_no_workbook_is_refused(self, content: bytes) -> None:
        with pytest.raises(SpreadsheetRefused, match="not an XLSX workbook"):
            BoundedXLSX().create_dataset(content)

    def test_another_zip_is_refused(self) -> None:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("orders.csv", "order_id\n")
        with pytest.raises(SpreadsheetRefused, match="not an XLSX workbook"):
            BoundedXLSX().create_dataset(file.getvalue())

    def test_a_workbook_that_grows_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(formats, "MAX_UNPACKED_BYTES", 2**20)
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("xl/worksheets/sheet1.xml", b"0" * 2**21)
        with pytest.raises(SpreadsheetRefused, match="too large once it is unpacked"):
            BoundedXLSX().create_dataset(file.getvalue())

    @pytest.mark.parametrize("cell", ["A1048576", "XFD1"])
    def test_a_workbook_whose_cells_lie_far_apart_is_refused(self, cell: str) -> None:
        file = io.BytesIO()
        with Workbook(file) as book:
            sheet = book.add_worksheet()
            sheet.write_string("A1", "product_id")
            sheet.write_string(cell, "x")
        with pytest.raises(SpreadsheetRefused, match="too large once it is unpacked"):
            BoundedXLSX().create_dataset(file.getvalue())

    def test_a_workbook_of_people_is_read_as_it_is_meant(self) -> None:
        file = io.BytesIO()
        with Workbook(file) as book:
            sheet = book.add_worksheet()
            sheet.write_row(0, 0, ["product_id", "price", "active"])
            sheet.write_row(1, 0, [1234, 2.5, True])
            book.add_worksheet("notes").write_string("A1", "not read")
        assert BoundedXLSX().create_dataset(file.getvalue()).dict == [
            {"product_id": 1234.0, "price": 2.5, "active": True}
        ]

    def test_too_many_rows_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(formats, "MAX_ROWS", 2)
        with pytest.raises(SpreadsheetRefused, match="3 rows are more than the 2 of a spreadsheet"):
            BoundedCSV().create_dataset("a\n1\n2\n3\n")
