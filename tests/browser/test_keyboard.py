"""Everything that is done with a pointer is done with the keyboard alone."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
import redis
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Locator, Page, expect
from pytest_django.live_server_helper import LiveServer

from recommender.models import Campaign, Coupon, CouponTarget, Job, Product, Publication, Run, Shopper, Upload
from tests.admin.rows import add_rows
from tests.admin.test_roles import address
from tests.browser.test_faults import show
from tests.services.small_shop import START, add_run

pytestmark = [pytest.mark.real, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def desk(sign_in: Callable[..., Page], broker: redis.Redis) -> Page:
    page: Page = sign_in("ada", "administrator")
    # No pointer: whatever is done in this module is done by keys.
    for name in ("click", "dblclick", "check", "select_option", "set_input_files"):
        setattr(page, name, None)
    return page


def go_to(page: Page, place: Locator) -> None:
    """Press Tab until a control has the focus, from where the focus is now."""
    place.wait_for(state="visible")
    for _pressed in range(300):
        if place.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"the Tab key does not come to {place}")


def press(page: Page, place: Locator, key: str = "Enter") -> None:
    go_to(page, place)
    page.keyboard.press(key)


def act(page: Page, name: str, button: str | None = None) -> None:
    """Go past the sidebar to an action of a page, and answer the page that asks."""
    with page.expect_navigation():
        press(page, page.get_by_role("link", name=name, exact=True).first)
    answer(page, button or name)


def answer(page: Page, button: str) -> None:
    with page.expect_navigation():
        press(page, page.locator("#main").get_by_role("button", name=button, exact=True).last)
    page.wait_for_load_state()


def write(page: Page, name: str, text: str) -> None:
    go_to(page, page.locator(f"#main [name={name}]"))
    page.keyboard.press("Control+A")
    page.keyboard.type(text)


def test_a_run_is_computed_corrected_approved_published_and_taken_back(desk: Page, live_server: LiveServer) -> None:
    campaign = Campaign.objects.create(
        campaign_id="spring", starts_at=START, ends_at=timezone.now() + timedelta(days=30)
    )
    show(desk, live_server.url, address(Campaign, "change", campaign.pk))
    with desk.expect_navigation():
        press(desk, desk.get_by_role("link", name="Recommend", exact=True).first)
    write(desk, "top", "7")
    answer(desk, "Recommend")
    job = Job.objects.get(kind=Job.Kind.RECOMMEND)
    assert job.arguments == {"campaign": campaign.pk, "top": 7, "objective": "redemptions"}
    act(desk, "Cancel the job")
    job.refresh_from_db()
    assert job.state == Job.State.CANCELLED

    run = add_run(campaign, state=Run.State.DRAFTED)
    coupon = Coupon.objects.create(coupon_id="c1")
    shopper = Shopper.objects.create(shopper_id="s1")
    run.recommendations.create(shopper=shopper, coupon=coupon, rank=1, score=0.5)
    show(desk, live_server.url, address(Run, "change", run.pk))
    with desk.expect_navigation():
        press(desk, desk.get_by_role("link", name="Correct", exact=True).first)
    write(desk, "coupon", "c1")
    write(desk, "reason", "sold out")
    answer(desk, "Correct")  # says what it reaches
    assert not run.corrections.exists()
    answer(desk, "Correct")
    assert run.corrections.get().reason == "sold out"
    with desk.expect_navigation():
        press(desk, desk.get_by_role("button", name="Undo").or_(desk.get_by_role("link", name="Undo")).first)
    if desk.locator("[name=answer_key]").count():
        answer(desk, "Undo")
    assert run.corrections.get().undone_at is not None

    show(desk, live_server.url, address(Run, "change", run.pk))
    act(desk, "Approve")
    run.refresh_from_db()
    assert run.state == Run.State.APPROVED
    with desk.expect_navigation():
        press(desk, desk.get_by_role("link", name="Publish", exact=True).first)
    press(desk, desk.locator("[name=accepted]"), "Space")
    answer(desk, "Publish")
    assert Publication.objects.live().get().run == run
    act(desk, "Roll back")
    assert not Publication.objects.live().exists()


def test_a_publication_is_set_for_later(desk: Page, live_server: LiveServer) -> None:
    """The moment is written into the parts of the browser's own picker."""
    campaign = Campaign.objects.create(
        campaign_id="spring", starts_at=START, ends_at=timezone.now() + timedelta(days=30)
    )
    run = add_run(campaign)
    show(desk, live_server.url, address(Run, "publish_later", run.pk))
    moment = timezone.now() + timedelta(days=2)
    go_to(desk, desk.locator("[name=publish_at]"))
    desk.keyboard.type(f"{moment:%m%d%Y}")
    desk.keyboard.press("ArrowRight")
    desk.keyboard.type("0930AM")
    press(desk, desk.locator("[name=accepted]"), "Space")
    answer(desk, "Publish then")
    begins = Job.objects.get(kind=Job.Kind.PUBLISH).not_before
    assert (begins.date(), begins.hour, begins.minute) == (moment.date(), 9, 30)


def test_an_export_is_brought_in(desk: Page, live_server: LiveServer) -> None:
    """Enter opens the system's own dialog for a file."""
    show(desk, live_server.url, reverse("admin:recommender_upload_changelist"))
    with desk.expect_file_chooser() as dialog:
        press(desk, desk.locator("#main input[type=file]"))
    dialog.value.set_files({"name": "orders.csv", "mimeType": "text/csv", "buffer": b"order_id\n1\n"})
    answer(desk, "Upload and check")
    upload = Upload.objects.get()
    assert upload.name == "orders.csv"
    Job.objects.all().delete()
    Upload.objects.update(state=Upload.State.CHECKED, report={"files": []})
    show(desk, live_server.url, address(Upload, "change", upload.pk))
    act(desk, "Load")
    assert Job.objects.get().kind == Job.Kind.LOAD


def test_filters_actions_and_menus_open_and_close(desk: Page, live_server: LiveServer) -> None:
    add_rows(1)
    show(desk, live_server.url, address(Run, "changelist"))

    filters = desk.get_by_role("button", name="Filters")
    press(desk, filters)
    sheet = desk.locator("#changelist-filter")
    expect(sheet).to_be_visible()
    expect(sheet.locator(":focus")).to_have_count(1)
    desk.keyboard.press("Escape")
    expect(sheet).to_be_hidden()
    expect(filters).to_be_focused()
    press(desk, filters)
    with desk.expect_navigation():
        press(desk, sheet.get_by_role("link", name="live", exact=True))
    assert "published" in desk.url

    menu = desk.get_by_role("button", name=re.compile("ada"))
    press(desk, menu, "Space")
    dark = desk.get_by_role("button", name="Dark")
    press(desk, dark)
    expect(desk.locator("html.dark")).to_have_count(1)
    desk.keyboard.press("Escape")
    expect(dark).to_be_hidden()
    expect(menu).to_be_focused()

    sidebar = desk.locator("#nav-sidebar")
    switch = desk.get_by_role("button", name="Show or hide the menu").first
    press(desk, switch)
    expect(sidebar).to_be_hidden()
    desk.keyboard.press("Enter")
    expect(sidebar).to_be_visible()

    # Rows are chosen, and an action done with them.
    show(desk, live_server.url, address(Run, "changelist"))
    Run.objects.update(state=Run.State.DRAFTED)
    press(desk, desk.locator("[name=_selected_action]").first, "Space")
    choice = desk.locator("[name=action]")
    go_to(desk, choice)
    desk.keyboard.type("Reject")
    expect(choice).to_have_value("reject_chosen")
    with desk.expect_navigation():
        press(desk, desk.locator("#changelist-form").get_by_role("button", name=re.compile("Run|Go")).first)
    answer(desk, "Reject")
    assert Run.objects.get().state == Run.State.REJECTED


def test_a_coupon_is_given_a_target_and_a_window(desk: Page, live_server: LiveServer) -> None:
    """The box that searches for a row, another line, and the calendar of a date."""
    product = Product.objects.create(product_id="p1", name="Tea")
    coupon = Coupon.objects.create(coupon_id="c1")
    show(desk, live_server.url, address(Coupon, "change", coupon.pk))
    press(desk, desk.get_by_role("link", name=re.compile("Add another")).first)
    box = desk.locator("[id^=targets-] [role=combobox]").first
    press(desk, box)
    expect(desk.get_by_role("searchbox")).to_be_focused()  # it takes the focus a moment after it has opened
    desk.keyboard.type("p1")
    expect(desk.locator(".select2-results__option--highlighted")).to_contain_text("p1")
    desk.keyboard.press("Enter")
    with desk.expect_navigation():
        press(desk, desk.get_by_role("button", name="Save", exact=True))
    assert CouponTarget.objects.get().product == product


def test_the_menus_of_a_phone_open_by_keys_too(sign_in: Callable[..., Page], live_server: LiveServer) -> None:
    add_rows(1)
    Run.objects.update(state=Run.State.DRAFTED)
    page = sign_in("ada", "administrator", width=390)
    show(page, live_server.url, address(Run, "change", Run.objects.get().pk))
    press(page, page.get_by_role("button", name="Show or hide the menu"))
    expect(page.locator("#nav-sidebar :focus")).to_have_count(1)
    press(page, page.get_by_role("button", name="Close the menu"))
    expect(page.locator("#nav-sidebar")).to_be_hidden()
    press(page, page.get_by_role("link", name="More actions").first)
    with page.expect_navigation():
        press(page, page.get_by_role("link", name="Approve", exact=True))
    assert page.url.endswith("/approve/")
