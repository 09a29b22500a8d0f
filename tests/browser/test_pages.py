"""Every page of the staff desk: no serious accessibility fault, nothing wider than a phone, everything reached by the
keyboard, in both languages and both themes."""

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page
from pytest_django.live_server_helper import LiveServer

from tests.browser.visits import MAIN, Visit, list_visits, open_visit, prepare_rows
from tests.browser.walking import walk

pytestmark = [pytest.mark.real, pytest.mark.django_db(transaction=True)]

#: What keeps somebody from using a page.
GRAVE = {"serious", "critical"}
PHONE = {"width": 390, "height": 900}
WIDE = {"width": 1280, "height": 900}
#: What stands beside every page is looked at once.
BESIDE = "#nav-sidebar"


def grave_faults(page: Page, *, without: str = "") -> list[str]:
    page.evaluate(Axe().axe_script)
    context = f"{{exclude: ['{without}']}}" if without else "document"
    found = page.evaluate(f"axe.run({context}, {{resultTypes: ['violations']}}).then(found => found.violations)")
    return [
        f"{fault['id']}: {fault['help']} {[node['target'] for node in fault['nodes']][:3]}"
        for fault in found
        if fault["impact"] in GRAVE
    ]


def overflow(page: Page) -> list[str]:
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return [f"{wider} px wider than the screen"] if wider > 0 else []


def list_half(half: int) -> list[Visit]:
    """Every second page, and the main ones."""
    return [visit for number, visit in enumerate(list_visits()) if number % 2 == half or visit.name in MAIN]


@pytest.mark.parametrize(("language", "size", "theme", "half"), [("en", WIDE, "light", 0), ("zh-CN", PHONE, "dark", 1)])
def test_pages_can_be_used_by_everybody(
    transactional_db: None,
    sign_in: Callable[..., Page],
    live_server: LiveServer,
    language: str,
    size: dict[str, int],
    theme: str,
    half: int,
) -> None:
    prepare_rows()
    page = sign_in("ada", "administrator", width=size["width"], language=language, theme=theme)
    faults: list[str] = []
    for number, visit in enumerate(list_half(half)):
        page.set_viewport_size(size)
        try:
            open_visit(page, live_server.url, visit)
        except AssertionError as error:
            faults.append(str(error))
            continue
        found = grave_faults(page, without=BESIDE if number else "") + walk(page)
        page.set_viewport_size(PHONE)
        faults += [f"{visit.name}: {fault}" for fault in [*found, *overflow(page)]]
    assert not faults, "\n".join(faults)


def test_the_sidebar_is_reached_by_the_keyboard(
    transactional_db: None, sign_in: Callable[..., Page], live_server: LiveServer
) -> None:
    page = sign_in("ada", "administrator")
    assert walk(page, past_the_sidebar=False) == []
