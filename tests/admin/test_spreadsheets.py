"""Coupons and products by spreadsheet, from the pages."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from recommender.admin.history import Change, Step, describe_entry
from recommender.models import Coupon, Product, Segment
from recommender.services.spreadsheets import formats

IMPORT = "admin:recommender_coupon_import"
PROCESS = "admin:recommender_coupon_process_import"
EXPORT = "admin:recommender_coupon_export"
XLSX, CSV = "0", "1"
SHEET = "coupon_id,title,target_brands\nc1,Ice cream,Polar\nc2,Bread,\n"


@pytest.fixture(autouse=True)
def _media(settings: Any, tmp_path: Path) -> Iterator[None]:
    """A folder of the test's own for what lies between preview and confirmation."""
    storages = {**settings.STORAGES}
    storages["default"] = {**storages["default"], "OPTIONS": {"location": tmp_path}}
    settings.STORAGES = storages
    yield


@pytest.fixture(autouse=True)
def coupon(db: None) -> Coupon:
    return Coupon.objects.create(coupon_id="c1", title="Ice")


def preview(client: Client, text: str | bytes = SHEET, kind: str = CSV) -> HttpResponse:
    content = text.encode() if isinstance(text, str) else text
    return client.post(reverse(IMPORT), {"import_file": SimpleUploadedFile("coupons.csv", content), "format": kind})


def confirm(client: Client, page: Any) -> Any:
    return client.post(reverse(PROCESS), page.context["confirm_form"].initial, follow=True)


def told(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


def test_a_sheet_is_previewed_confirmed_and_remembered(admin_client: Client, coupon: Coupon) -> None:
    page = preview(admin_client)
    assert [row.import_type for row in page.context["result"].rows] == ["update", "new"]  # type: ignore[attr-defined]
    assert list(Coupon.objects.values_list("title", flat=True)) == ["Ice"], "a preview changes nothing"

    assert told(confirm(admin_client, page)) == [
        "The spreadsheet of 2 rows is imported: 1 new, 1 changed, 0 unchanged."
    ]
    coupon.refresh_from_db()
    assert (coupon.title, coupon.targets.get().brand) == ("Ice cream", "Polar")
    changed, added = LogEntry.objects.order_by("pk")
    assert (str(changed.user), changed.object_id) == ("admin", str(coupon.pk))
    changes = (Change("title", "Ice", "Ice cream"), Change("target_brands", "–", "Polar"))
    assert describe_entry(changed) == [Step("Changed by spreadsheet.", changes)]
    assert changed.get_change_message() == "Changed title and target_brands."
    assert describe_entry(added) == [Step("Added.")]


def test_a_second_click_imports_nothing_more(admin_client: Client) -> None:
    page = preview(admin_client)
    confirm(admin_client, page)
    Coupon.objects.filter(coupon_id="c1").update(title="Changed since")
    assert told(confirm(admin_client, page))[-1].startswith("This preview was used already")
    assert Coupon.objects.get(coupon_id="c1").title == "Changed since"


def test_rows_that_no_longer_fit_are_not_imported(admin_client: Client) -> None:
    Product.objects.create(product_id="p1")
    page = preview(admin_client, "coupon_id,title,target_products\nc3,New,\nc1,Ice cream,p1\n")
    Product.objects.all().delete()
    assert told(confirm(admin_client, page)) == [
        "The table changed since the preview, and the rows no longer fit. Nothing was imported."
    ]
    assert list(Coupon.objects.values_list("coupon_id", "title")) == [("c1", "Ice")]
    assert not LogEntry.objects.exists()


def test_a_wrong_cell_is_shown_by_line_and_column(admin_client: Client) -> None:
    page = preview(admin_client, "coupon_id,discount_value\nc2,1\nc1,lots\n")
    assert "confirm_form" not in page.context  # type: ignore[attr-defined]
    shown = page.content.decode()
    assert "Expected a number such as 12.50, not lots." in shown
    line = shown[shown.index('<td class="desk-number">3</td>') :]
    assert line.index("discount_value") < line.index("Expected a number")
    assert Coupon.objects.count() == 1


@pytest.mark.parametrize(
    ("text", "kind", "problem"),
    [
        ("tilte\nx\n", CSV, "The column coupon_id is missing"),
        ("coupon_id\n" + "".join(f"n{number}\n" for number in range(formats.MAX_ROWS + 1)), CSV, "Bring data in"),
        (SHEET, XLSX, "The file is not an XLSX workbook."),
        ("Käse".encode("latin-1"), CSV, "The file is not UTF-8 text"),
        (b"x" * (formats.MAX_FILE_BYTES + 1), CSV, "The file is larger than 5.0"),
        ("", CSV, "The submitted file is empty."),
        ("coupon_id\n", CSV, "No valid data to import"),
    ],
)
def test_a_sheet_that_cannot_be_read_says_why(text: str | bytes, kind: str, problem: str, admin_client: Client) -> None:
    page = preview(admin_client, text, kind)
    assert page.status_code == 200
    assert problem in page.content.decode()
    assert Coupon.objects.count() == 1


@pytest.mark.parametrize("permissions", [(), ("view_coupon",), ("view_coupon", "add_coupon"), ("change_coupon",)])
def test_who_may_not_import_changes_nothing(
    permissions: tuple[str, ...], client_with: Callable[..., Client], admin_client: Client
) -> None:
    initial = preview(admin_client).context["confirm_form"].initial  # type: ignore[attr-defined]
    client = client_with(*permissions)
    assert client.get(reverse(IMPORT)).status_code == 403
    assert preview(client).status_code == 403
    assert client.post(reverse(PROCESS), initial).status_code == 403
    assert list(Coupon.objects.values_list("title", flat=True)) == ["Ice"]


def test_a_permission_taken_between_preview_and_confirmation_counts(
    client_with: Callable[..., Client],
) -> None:
    client = client_with("view_coupon", "add_coupon", "change_coupon")
    page = preview(client)
    from recommender.models import User

    User.objects.get(pk=client.session["_auth_user_id"]).user_permissions.clear()
    answer = client.post(reverse(PROCESS), page.context["confirm_form"].initial)  # type: ignore[attr-defined]
    assert answer.status_code == 403
    assert Coupon.objects.count() == 1


def test_a_list_is_exported_as_it_is_filtered(client_with: Callable[..., Client]) -> None:
    Coupon.objects.create(coupon_id="d1", active=False)
    client = client_with("view_coupon")
    assert client.get(reverse(EXPORT)).status_code == 200
    answer = client.post(f"{reverse(EXPORT)}?active__exact=0", {"format": CSV})
    lines = answer.content.decode("utf-8-sig").splitlines()
    assert (lines[0].split(",")[0], [line.split(",")[0] for line in lines[1:]]) == ("coupon_id", ["d1"])
    assert client.post(reverse(EXPORT), {"format": XLSX}).content[:2] == b"PK"


def test_who_may_not_see_does_not_export(client_with: Callable[..., Client]) -> None:
    assert client_with("view_product").post(reverse(EXPORT), {"format": CSV}).status_code == 403


def test_a_list_too_long_to_export_says_so(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAX_ROWS", 0)
    answer = admin_client.post(reverse(EXPORT), {"format": CSV})
    assert told(answer) == ["1 rows are more than the 0 of a spreadsheet. For more, use “Bring data in”."]


@pytest.mark.parametrize("table", ["product", "segment"])
def test_the_pages_of_other_tables_are_there(table: str, admin_client: Client) -> None:
    for name in ("import", "export"):
        assert admin_client.get(reverse(f"admin:recommender_{table}_{name}")).status_code == 200


def test_a_sheet_of_segments_is_previewed_and_imported(admin_client: Client) -> None:
    sheet = SimpleUploadedFile("segments.csv", b"name,orders\nBuyers,at least 3 in 30 days\nNew,sometimes\n")
    wrong = admin_client.post(reverse("admin:recommender_segment_import"), {"import_file": sheet, "format": CSV})
    shown = wrong.content.decode()
    assert "one a line, not sometimes." in shown
    assert not Segment.objects.filter(name="Buyers").exists()

    sheet = SimpleUploadedFile("segments.csv", b"name,orders\nBuyers,at least 3 in 30 days\n")
    page = admin_client.post(reverse("admin:recommender_segment_import"), {"import_file": sheet, "format": CSV})
    assert not Segment.objects.filter(name="Buyers").exists()
    process = reverse("admin:recommender_segment_process_import")
    admin_client.post(process, page.context["confirm_form"].initial)  # type: ignore[attr-defined]
    condition = Segment.objects.get(name="Buyers").conditions.get()
    assert (condition.kind, condition.amount, condition.days) == ("orders", 3, 30)


def test_who_may_not_change_conditions_imports_no_segments(client_with: Callable[..., Client]) -> None:
    client = client_with("view_segment", "add_segment", "change_segment", "add_segmentcondition")
    assert client.get(reverse("admin:recommender_segment_import")).status_code == 403
