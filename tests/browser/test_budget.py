"""The page of a run's budgets, by the keyboard: a budget is chosen on the slider, and a run with it is started."""

from collections.abc import Callable

import pytest
import redis
from django.urls import reverse
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from recommender.models import Job, Run
from tests.admin.rows import add_rows

pytestmark = [pytest.mark.real, pytest.mark.django_db(transaction=True)]


def test_a_budget_is_chosen_and_asked_for(
    sign_in: Callable[..., Page], live_server: LiveServer, broker: redis.Redis
) -> None:
    add_rows(1)
    Job.objects.all().delete()
    run = Run.objects.get()
    page = sign_in("erin", "editor")
    page.goto(live_server.url + reverse("admin:recommender_run_budget", args=[run.pk]))
    slider = page.get_by_role("slider", name="Budget")
    expect(slider).to_be_enabled()
    told = page.locator("[data-told=value]")
    expect(told).to_have_text("5.0 redemptions")

    # A step up, to the very end, and back to the first.
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(told).to_have_text("5.2 redemptions")
    expect(slider).to_have_attribute("aria-valuetext", "10.50 USD: 5.2 redemptions")
    page.keyboard.press("End")
    expect(told).to_have_text("10 redemptions")
    expect(page.locator("[data-told=marginal]")).to_have_text("0 redemptions for 1 USD")
    page.keyboard.press("Home")
    expect(page.locator("[data-told=budget]")).to_have_text("0.50 USD")
    expect(page.locator("tr[aria-current]")).to_have_count(1)
    expect(page.locator("tr[aria-current]")).to_contain_text("0.50 USD")

    # The run is asked for with the budget filled in, and only the answer starts it.
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    expect(page.locator("[name=budget]")).to_have_value("1")
    assert not Job.objects.exists()
    page.locator("form").get_by_role("button", name="Recommend", exact=True).last.press("Enter")
    page.wait_for_url("**/job/**")
    assert Job.objects.get().arguments == {
        "campaign": run.campaign_id,
        "top": 10,
        "objective": "redemptions",
        "budget": "1",
    }
