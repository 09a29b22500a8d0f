"""The system's Chromium, and how somebody signs in with it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Names under which systems have it.
NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
MISSING = "this machine has no Chromium (Debian: apt-get install chromium)"


def find_chromium() -> str | None:
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@contextmanager
def open_browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
        yield browser
        browser.close()


def sign_in_at(page: Any, address: str, name: str, password: str) -> None:
    """Sign in to the staff desk of the site at an address, and wait for its first page."""
    page.goto(f"{address}/admin/")
    page.fill("input[name=username]", name)
    page.fill("input[name=password]", password)
    page.press("input[name=password]", "Enter")
    page.wait_for_selector("input[name=password]", state="detached")
    page.wait_for_load_state()
