"""The whole story of a campaign in the staff desk: three people in real browsers, a real worker, and the API."""

import re
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from pytest_django.live_server_helper import LiveServer
from rest_framework.test import APIClient

from recommender.models import Campaign, Order, Run, Upload
from recommender.services.access import create_api_key
from tests.extract import LIVE, open_shop

pytestmark = [pytest.mark.real, pytest.mark.django_db(transaction=True)]

#: A training and a run take longer than a page.
LONG_WORK = 240_000  # milliseconds


def action(page: Page, name: str) -> Locator:
    """The link of an action; the name of its icon is read out before its own."""
    return page.get_by_role("link", name=re.compile(rf"(^|\s){name}$"))


def follow(control: Locator) -> None:
    """Press what leads to another page, and wait for that page: a click alone does not always."""
    with control.page.expect_navigation():
        control.click()


def do(page: Page, name: str) -> None:
    """Press an action of a page and answer the page that asks."""
    follow(action(page, name).first)
    confirm(page, name)


def confirm(page: Page, button: str) -> None:
    follow(page.locator("main form, form").get_by_role("button", name=button, exact=True).last)


def wait_for_job(page: Page) -> None:
    """Watch the job on the page until it is done; a reload half way is harmless."""
    page.reload()
    expect(page.locator("[data-job-progress][data-finished=true]")).to_be_visible(timeout=LONG_WORK)


def lists(key: str, shopper_id: str) -> list[str]:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")
    answer = client.get(f"/api/v1/shoppers/{shopper_id}/coupons")
    assert answer.status_code == 200, answer.json()
    return [offered["coupon"]["coupon_id"] for offered in answer.json()["coupons"]]


def test_from_an_upload_to_a_published_run_and_back(
    sign_in: Callable[..., Page],
    worker: subprocess.Popen,
    export: Path,
    tmp_path: Path,
    live_server: LiveServer,
) -> None:
    open_shop()
    archive = tmp_path / "export.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        for table in sorted(export.iterdir()):
            bundle.write(table, table.name)
    editor = sign_in("erin", "editor")

    # The export is uploaded and checked, and loaded once she has seen what it holds.
    follow(editor.get_by_role("link", name="Bring data in").first)
    editor.goto(f"{live_server.url}/admin/recommender/upload/add/")
    editor.set_input_files("input[type=file]", archive)
    confirm(editor, "Upload and check")
    expect(editor.get_by_text("What loading it would do")).to_be_visible(timeout=LONG_WORK)
    assert not Order.objects.exists()
    do(editor, "Load")
    expect(editor.get_by_text("What was loaded")).to_be_visible(timeout=LONG_WORK)
    assert Upload.objects.get().state == Upload.State.LOADED
    assert Order.objects.exists()

    # Recommendations are computed for the campaign that runs: the first time a model is trained.
    campaign = Campaign.objects.get(campaign_id=LIVE)
    editor.goto(f"{live_server.url}/admin/recommender/campaign/{campaign.pk}/change/")
    follow(action(editor, "Recommend").first)
    editor.fill("input[name=top]", "5")
    confirm(editor, "Recommend")
    wait_for_job(editor)
    run = Run.objects.get()
    assert (run.state, run.created_by.username) == (Run.State.DRAFTED, "erin")

    # She may look at it, and not approve what she made.
    page = f"{live_server.url}/admin/recommender/run/{run.pk}/change/"
    editor.goto(page)
    expect(editor.get_by_role("heading", name="Guardrails")).to_be_visible()
    expect(action(editor, "Approve")).to_have_count(0)

    # Somebody else looks into a shopper, takes a coupon out of the run, sees the figures follow, and approves.
    approver = sign_in("anna", "approver")
    approver.goto(page)
    expected = run.expected_redemptions
    shopper_id = run.recommendations.filter(rank=1).select_related("shopper").first().shopper.shopper_id
    approver.fill("#find-shopper", shopper_id)
    follow(approver.get_by_role("button", name="Look", exact=True))
    expect(approver.get_by_role("columnheader", name="Why this coupon")).to_be_visible()
    approver.goto(page)
    follow(approver.get_by_role("link", name="Take out", exact=True).first)
    approver.fill("[name=reason]", "Out of stock this week")
    confirm(approver, "Correct")
    taken_out = run.corrections.get().coupon
    run.refresh_from_db()
    assert run.expected_redemptions < expected
    assert not run.recommendations.offered().filter(coupon=taken_out).exists()
    approver.goto(page)
    do(approver, "Approve")
    run.refresh_from_db()
    assert (run.state, run.reviewed_by.username) == (Run.State.APPROVED, "anna")

    # A third publishes it, and what the API answers changes at once; then it is taken back, and it changes back.
    _row, key = create_api_key(name="till")
    assert lists(key, shopper_id) == []
    publisher = sign_in("paul", "publisher")
    publisher.goto(page)
    follow(action(publisher, "Publish").first)
    expect(publisher.get_by_text(re.compile("Shoppers who get a list|Lists that are new|new"))).not_to_have_count(0)
    if publisher.locator("input[name=accepted]").count():
        publisher.check("input[name=accepted]")
    confirm(publisher, "Publish")
    offered = list(
        run.recommendations.offered()
        .filter(shopper__shopper_id=shopper_id)
        .order_by("rank")
        .values_list("coupon__coupon_id", flat=True)
    )
    assert lists(key, shopper_id) == offered != []
    assert taken_out.coupon_id not in offered
    publisher.goto(page)
    follow(action(publisher, "Roll back").first)
    confirm(publisher, "Roll back")
    assert lists(key, shopper_id) == []
    run.refresh_from_db()
    assert run.state == Run.State.ROLLED_BACK
