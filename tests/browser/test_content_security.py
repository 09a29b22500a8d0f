"""What pages may run, as a browser sees it."""

from collections.abc import Callable
from typing import Any

import pytest
from django_celery_beat.models import CrontabSchedule
from playwright.sync_api import Page
from pytest_django.live_server_helper import LiveServer

pytestmark = [pytest.mark.real, pytest.mark.django_db(transaction=True)]

INJECTED = "document.body.insertAdjacentHTML('beforeend', '<img src=nothing onerror=\"window.injected = true\">')"


def test_what_somebody_injects_into_a_page_does_not_run(
    transactional_db: None, browser: Any, live_server: LiveServer
) -> None:
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(f"{live_server.url}/admin/login/")
    with page.expect_console_message(lambda message: "Content Security Policy" in message.text):
        page.evaluate(INJECTED)
    assert page.evaluate("window.injected") is None
    page.close()


def test_the_page_of_the_api_shows_itself(transactional_db: None, browser: Any, live_server: LiveServer) -> None:
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(f"{live_server.url}/api/v1/docs")
    page.get_by_role("heading", name="Couponsite").wait_for()
    page.locator("#operations-v1-orders_create, .opblock").first.wait_for()
    assert [text for text in said if "Content Security Policy" in text] == []
    page.close()


def test_pages_with_scripts_of_their_own_keep_to_the_policy(
    transactional_db: None, sign_in: Callable[..., Page], live_server: LiveServer
) -> None:
    """The fixture fails if the browser refused anything."""
    schedule = CrontabSchedule.objects.create(minute="5", hour="3")
    page = sign_in("ada", "administrator")
    # The page of a schedule has a script of its own, which says what the chosen crontab means.
    page.goto(f"{live_server.url}/admin/django_celery_beat/periodictask/add/")
    page.locator("#id_crontab").select_option(label=str(schedule))
    page.get_by_text("At 03:05").wait_for()
    for address in ("/admin/", "/admin/recommender/shopper/", "/admin/recommender/segment/add/", "/admin/nothing/"):
        page.goto(f"{live_server.url}{address}")
        page.wait_for_load_state("networkidle")
        assert (
            "unsafe-inline"
            not in page.evaluate("fetch(location).then(answer => answer.headers.get('Content-Security-Policy'))")
            .split("script-src")[1]
            .split(";")[0]
        )
