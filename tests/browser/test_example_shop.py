"""The example shop as a shopper uses it: a real browser, the shop's own server, and the site behind it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.core.management import call_command
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from couponsite.processes import die_with_parent
from recommender.models import Coupon, Event, Product, Redemption, Reservation, Shop, Shopper
from tests.api.shop_rows import make_campaign, publish
from tests.browser.conftest import PATIENCE

pytestmark = [pytest.mark.real, pytest.mark.django_db(transaction=True)]

BACKEND = Path(settings.BASE_DIR) / "examples" / "shop" / "backend.py"


@pytest.fixture
def shop_settings(transactional_db: None, settings: Any, tmp_path: Path) -> Path:
    """A shop as the sample leaves one: its coupons say nothing of what they take off."""
    settings.DATA_DIR = tmp_path
    shop = Shop.current()
    shop.name, shop.currency = "Tea & <b>Milk</b>", "USD"
    shop.save()
    anna = Shopper.objects.create(shopper_id="anna")
    tea = Product.objects.create(product_id="green tea", name="Green tea", price="10")
    milk = Product.objects.create(product_id="milk", name="Milk", price="2.5")
    for_tea = Coupon.objects.create(coupon_id="tea-spring", offer_id="tea", title="A tenth off tea")
    for_milk = Coupon.objects.create(coupon_id="milk-spring", offer_id="milk", title="A tenth off milk")
    for_tea.targets.create(product=tea)
    for_milk.targets.create(product=milk)
    publish(make_campaign("spring", for_tea, for_milk, name="Spring"), (anna, for_tea, 0.5), (anna, for_milk, 0.25))
    call_command("prepare_example_shop")
    return tmp_path / "example-shop.json"


@pytest.fixture
def address(shop_settings: Path, live_server: LiveServer) -> Iterator[str]:
    command = [sys.executable, BACKEND, shop_settings, "--site", live_server.url, "--port", "0"]
    # It ends with the tests, however they end.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent) as server:  # noqa: PLW1509
        assert server.stdout is not None
        yield server.stdout.readline().split()[-1]
        server.terminate()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Page]:
    """The shop on a telephone."""
    context = browser.new_context(viewport={"width": 390, "height": 800}, locale="en", reduced_motion="reduce")
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(address)
    expect(page.get_by_role("heading", name="A tenth off tea")).to_be_visible()
    yield page
    context.close()


def say(page: Page) -> Any:
    return page.get_by_role("status")


def history(page: Page) -> Any:
    return page.get_by_role("region", name="What you did with coupons").get_by_role("listitem")


def test_a_coupon_is_used_once_and_the_reason_is_told(page: Page) -> None:
    card = page.locator("[data-coupon='tea-spring']")
    expect(card.get_by_text("Used this very offer 2 times")).to_be_visible()
    expect(card.get_by_text("10 % off")).to_be_visible()
    page.get_by_role("button", name="Put Green tea in the basket").click()
    page.get_by_role("button", name="Put Green tea in the basket").click()
    page.get_by_label("Use A tenth off tea").check()
    page.get_by_role("button", name="What would it cost?").click()
    expect(say(page)).to_have_text("You would save $2.00.")
    assert not Reservation.objects.exists()

    # The payment fails: the coupon is the shopper's again.
    page.get_by_label("Let the payment fail").check()
    page.get_by_role("button", name="Pay").click()
    expect(say(page)).to_have_text("The payment was refused, and the coupons are yours again.")
    assert Reservation.objects.get().state == Reservation.State.RELEASED
    assert not Redemption.objects.exists()

    page.get_by_label("Let the payment fail").uncheck()
    page.get_by_role("button", name="Pay").click()
    expect(say(page)).to_have_text("Paid. You saved $2.00.")
    expect(page.locator("[data-coupon='tea-spring']")).to_have_count(0)
    expect(page.locator("[data-coupon='milk-spring']")).to_be_visible()
    expect(history(page).first).to_contain_text("Used: A tenth off tea, $2.00 saved")
    used = Redemption.objects.get()
    assert (used.shopper.shopper_id, used.coupon.coupon_id, str(used.discount_amount)) == (
        "anna",
        "tea-spring",
        "2.000",
    )

    # Its code is tried again.
    page.get_by_role("button", name="Put Green tea in the basket").click()
    page.get_by_label("Coupon code").fill(Coupon.objects.get(coupon_id="tea-spring").code.lower())
    page.get_by_role("button", name="Pay").click()
    expect(say(page)).to_contain_text("used the coupon as often as one shopper may")
    assert Redemption.objects.count() == 1


def test_a_coupon_is_kept_and_another_dismissed(page: Page) -> None:
    page.get_by_role("button", name="Keep A tenth off tea").click()
    expect(say(page)).to_have_text("A tenth off tea: kept for you.")
    page.get_by_role("button", name="Dismiss A tenth off milk").click()
    expect(say(page)).to_have_text("A tenth off milk: you will not see it for a while.")
    expect(page.locator("[data-coupon='milk-spring']")).to_have_count(0)
    expect(history(page)).to_have_count(2)
    assert sorted(Event.objects.values_list("kind", flat=True)) == ["claim", "dismiss"]


def test_everybody_can_use_it_on_a_telephone(page: Page) -> None:
    page.get_by_role("button", name="Put Green tea in the basket").click()
    faults = [fault for fault in Axe().run(page).response["violations"] if fault["impact"] in {"serious", "critical"}]
    assert not faults, faults
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    expect(page.get_by_role("heading", level=1)).to_have_text("Tea & <b>Milk</b>")


def test_the_page_knows_no_secret_and_sets_no_price(page: Page, address: str, shop_settings: Path) -> None:
    known = json.loads(shop_settings.read_text())
    for path in ("", "/shop.js", "/products"):
        text = page.request.get(address + path).text()
        assert known["api_key"] not in text
        assert known["token_secret"] not in text
    priced = {"quantities": {"green tea": 1}, "coupon_ids": ["tea-spring"], "codes": [], "unit_price": "9000"}
    answer = page.request.post(f"{address}/validate", data=priced)
    assert answer.json()["discount"] == "1.000"
    assert page.request.post(f"{address}/validate", data={**priced, "quantities": {"gold": 1}}).status == 400
    assert page.request.post(f"{address}/validate", form={"quantities": "1"}).status == 415
    for elsewhere in ("/api/v1/shoppers/ben/coupons", "/api/v1/me/../segments", "/backend.py"):
        assert page.request.get(address + elsewhere).status == 404
