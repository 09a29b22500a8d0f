"""A real browser on a real site: the test's own server, a real worker and broker, and the system's Chromium."""

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from pytest_django.live_server_helper import LiveServer

from recommender.models import User
from recommender.roles import ROLES, UNSEEN, grant_roles
from tests.browser.chromium import MISSING, find_chromium, open_browser, sign_in_at

PASSWORD = "a long enough password"
#: How long a page may take on a machine with other work. In milliseconds.
PATIENCE = 20_000

# Playwright keeps an event loop in the test's thread, in which the tests use the database all the same.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if find_chromium() is None:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=MISSING))


#: The windows that a test has opened.
CONTEXTS = pytest.StashKey[list[Any]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails tells what its pages showed."""
    report = yield
    if call.when == "call" and report.failed:
        for context in item.stash.get(CONTEXTS, []):
            for page in context.pages:
                report.sections.append((f"shown at {page.url}", page.locator("body").inner_text()))
    return report


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE)
    with open_browser() as browser:
        yield browser


@pytest.fixture
def sign_in(browser: Any, live_server: LiveServer, request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Opens the staff desk as a new member of staff with roles: the page after signing in. Each has a browser of their
    own, as two people have."""
    # Whatever test emptied the tables before took the roles, which a migration makes, with the rest.
    grant_roles(apps, roles=ROLES, unseen=UNSEEN)
    contexts = request.node.stash.setdefault(CONTEXTS, [])
    refused: list[str] = []

    def open_desk(name: str, *roles: str, width: int = 1280, language: str = "en", theme: str = "light") -> Any:
        user = User.objects.create_user(name, password=PASSWORD, is_staff=True)
        user.groups.set(Group.objects.filter(name__in=roles))
        assert user.groups.count() == len(roles)
        context = browser.new_context(
            viewport={"width": width, "height": 900}, locale=language, color_scheme=theme, reduced_motion="reduce"
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        context.on("console", lambda message: refused.extend(refused_by_policy(message.text)))
        page = context.new_page()
        sign_in_at(page, live_server.url, name, PASSWORD)
        return page

    yield open_desk
    for context in contexts:
        context.close()
    assert refused == [], "the pages load and run what their Content-Security-Policy allows"


def refused_by_policy(text: str) -> list[str]:
    """What the browser says of something that the Content-Security-Policy of a page does not allow; else nothing."""
    return [text] if "Content Security Policy" in text else []
