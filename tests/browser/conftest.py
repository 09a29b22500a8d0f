"""A real browser on a real site: the test's own server, a real worker and broker, and the system's Chromium."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from pytest_django.live_server_helper import LiveServer

from recommender.models import User
from recommender.roles import ROLES, UNSEEN, grant_roles

#: Names under which systems have Chromium.
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
PASSWORD = "a long enough password"

# Playwright keeps an event loop in the test's thread, in which the tests use the database all the same.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if _find_chromium() is None:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(
                    pytest.mark.skip(reason="this machine has no Chromium (Debian: apt-get install chromium)")
                )


def _find_chromium() -> str | None:
    return next((found for name in CHROMIUM if (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_find_chromium(), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def sign_in(browser: Any, live_server: LiveServer) -> Iterator[Callable[..., Any]]:
    """Opens the staff desk as a new member of staff with roles: the page after signing in. Each has a browser of their
    own, as two people have."""
    # Whatever test emptied the tables before took the roles, which a migration makes, with the rest.
    grant_roles(apps, roles=ROLES, unseen=UNSEEN)
    contexts = []

    def open_desk(name: str, *roles: str, width: int = 1280, language: str = "en") -> Any:
        user = User.objects.create_user(name, password=PASSWORD, is_staff=True)
        user.groups.set(Group.objects.filter(name__in=roles))
        assert user.groups.count() == len(roles)
        context = browser.new_context(
            viewport={"width": width, "height": 900}, locale=language, reduced_motion="reduce"
        )
        contexts.append(context)
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.goto(f"{live_server.url}/admin/")
        page.fill("input[name=username]", name)
        page.fill("input[name=password]", PASSWORD)
        page.press("input[name=password]", "Enter")
        page.wait_for_selector("#nav-sidebar", state="attached")
        return page

    yield open_desk
    for context in contexts:
        context.close()
