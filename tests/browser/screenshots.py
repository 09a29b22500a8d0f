"""Pictures of the staff desk's main pages, taken from a site that runs.

``make screenshots PASSWORD=…`` visits the pages in every language at two widths, puts what it sees
into a folder, and a few of the pictures into ``docs/screenshots``. It only looks. A page that has nothing to show, such
as that of an approved run where none is approved, is named and left out.
"""

import argparse
import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from tests.browser.chromium import MISSING, find_chromium, open_browser, sign_in_at

WIDTHS = {"wide": 1280, "phone": 390}
LANGUAGES = {"en": "en", "zh-hans": "zh-CN"}
HEIGHT = 900
LONGEST_WAIT = 120_000  # milliseconds: a page may sum up what nobody asked for before
#: The sample shop's: the desk warns whoever sits in another time zone than the shop.
TIME_ZONE = "America/New_York"
#: A picture in the docs shows the top of its page, and takes few bytes.
MOST_PIXELS_HIGH = 1600
COLOURS = 128
DOCS = Path(__file__).parents[2] / "docs" / "screenshots"
#: What stands in the docs, by the name that it has there.
IN_DOCS = {
    "home": "home-en-wide-light",
    "upload": "upload-en-wide-light",
    "campaign": "campaign-en-wide-light",
    "segment": "segment-en-wide-light",
    "run": "run-en-wide-light",
    "run-phone": "run-en-phone-light",
    "run-zh-hans": "run-zh-hans-wide-light",
    "shopper": "shopper-en-wide-light",
    "results": "results-en-wide-light",
    "models": "models-en-wide-light",
}


class NothingThere(Exception):
    """The site has no such thing to show."""


class Desk:
    """The staff desk in one browser: a page, and the way to the things that it shows."""

    def __init__(self, page: Any, address: str) -> None:
        self.page, self.address = page, address
        page.set_default_timeout(LONGEST_WAIT)

    def go(self, path: str) -> None:
        answer = self.page.goto(f"{self.address}/admin/{path}", wait_until="networkidle")
        if not answer.ok:
            raise NothingThere(f"{path} answers {answer.status}")

    def first_of(self, model: str, *queries: str) -> str:
        """The address of the first row of a list, under the first of the queries that finds any."""
        for query in queries or ("",):
            self.go(f"recommender/{model}/?{query}")
            links = self.page.locator(f"#result_list a[href*='/{model}/'][href*='/change/']")
            if links.count():
                path = str(links.first.get_attribute("href")).partition("/admin/")[2]
                return path.partition("change/")[0]
        raise NothingThere(f"no {model}")

    def follow(self, links: str) -> None:
        found = self.page.locator(links)
        if not found.count():
            raise NothingThere(f"no {links}")
        self.go(str(found.first.get_attribute("href")).partition("/admin/")[2])


def show_upload(desk: Desk) -> None:
    desk.go(desk.first_of("upload") + "change/")


def show_campaign(desk: Desk) -> None:
    show_run(desk)
    desk.follow("main a[href*='/campaign/'][href$='/change/'], a[href*='/campaign/'][href$='/change/']")


def show_segment(desk: Desk) -> None:
    desk.go(desk.first_of("segment") + "change/")
    button = desk.page.locator("[data-segment-preview]")
    button.click()
    desk.page.wait_for_selector("[data-segment-members] table, [data-segment-members] .desk-tile")
    button.scroll_into_view_if_needed()


def show_run(desk: Desk) -> None:
    desk.go(desk.first_of("run", "state__exact=drafted", "state__exact=approved", "") + "change/")


def show_shopper(desk: Desk) -> None:
    desk.go(desk.first_of("run", "state__exact=drafted", "state__exact=approved", "") + "sample/")
    desk.follow("a[href*='/shoppers/']")


def show_publish(desk: Desk) -> None:
    desk.go(desk.first_of("run", "state__exact=approved") + "publish/")


def show_results(desk: Desk) -> None:
    """Of the campaign whose coupons were used most often, among those listed first."""
    desk.go("recommender/campaign/results/")
    rows = desk.page.locator(".desk-table tbody tr").all()
    if not rows:
        raise NothingThere("no campaign")
    best = max(rows, key=lambda row: int(re.sub(r"\D", "", row.locator("td").nth(2).inner_text()) or 0))
    desk.go(str(best.locator("a").first.get_attribute("href")).partition("/admin/")[2])


def show_models(desk: Desk) -> None:
    desk.go("recommender/modelversion/compare_latest/")


def show_job(desk: Desk) -> None:
    desk.go(desk.first_of("job") + "change/")


def show_history(desk: Desk) -> None:
    desk.go(desk.first_of("run", "state__exact=approved", "state__exact=drafted", "") + "history/")


def show_correct(desk: Desk) -> None:
    desk.go(desk.first_of("run", "state__exact=drafted", "state__exact=approved") + "correct/")


def show_first(model: str) -> Callable[[Desk], None]:
    return lambda desk: desk.go(desk.first_of(model) + "change/")


def at(path: str) -> Callable[[Desk], None]:
    return lambda desk: desk.go(path)


PAGES: dict[str, Callable[[Desk], None]] = {
    "home": at(""),
    "bring-data-in": at("recommender/upload/"),
    "upload": show_upload,
    "campaigns": at("recommender/campaign/"),
    "campaign": show_campaign,
    "calendar": at("recommender/campaign/calendar/"),
    "segment": show_segment,
    "run": show_run,
    "shopper": show_shopper,
    "publish": show_publish,
    "results": show_results,
    "models": show_models,
    "champion": at("recommender/modelversion/explain_champion/"),
    "job": show_job,
    "history": show_history,
    "inputs": at("recommender/runinput/"),
    "corrections": at("recommender/runcorrection/"),
    "correct": show_correct,
    "jobs": at("recommender/job/"),
    "results-list": at("recommender/campaign/results/"),
    "coupons": at("recommender/coupon/"),
    "coupon": show_first("coupon"),
    "coupon-import": at("recommender/coupon/import/"),
    "code-batch": show_first("codebatch"),
    "reservation": show_first("reservation"),
    "group": show_first("groupbuy"),
    "order": show_first("order"),
    "webhook": show_first("webhookendpoint"),
    "delivery": show_first("webhookdelivery"),
    "token-signer": show_first("tokensigner"),
    "api-key": show_first("apikey"),
    "settings": at("recommender/shop/"),
}
#: Taken in the dark too.
IN_THE_DARK = {"home", "run", "shopper", "results", "models", "campaign", "upload"}


def visit(browser: Any, address: str, name: str, password: str, pages: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Each page in each language at each width, and some in the dark too: a name and a picture."""
    for language, locale in LANGUAGES.items():
        for size, width in WIDTHS.items():
            for theme in ("light", "dark"):
                context = browser.new_context(
                    viewport={"width": width, "height": HEIGHT},
                    locale=locale,
                    timezone_id=TIME_ZONE,
                    color_scheme=theme,
                    reduced_motion="reduce",
                )
                desk = Desk(context.new_page(), address)
                sign_in_at(desk.page, address, name, password)
                for page in pages if theme == "light" else [page for page in pages if page in IN_THE_DARK]:
                    picture = f"{page}-{language}-{size}-{theme}"
                    try:
                        PAGES[page](desk)
                    except NothingThere as reason:
                        print(f"{picture}: left out, {reason}")  # noqa: T201
                        continue
                    _tell_overflow(desk.page, picture, width)
                    yield picture, _photograph(desk.page, width)
                context.close()


def _tell_overflow(page: Any, picture: str, width: int) -> None:
    """Say when a page is wider than the screen, which a picture does not show."""
    wide = page.evaluate("document.documentElement.scrollWidth")
    if wide > width:
        print(f"{picture}: {wide} pixels wide on a screen of {width}")  # noqa: T201


def _photograph(page: Any, width: int) -> bytes:
    """The whole page, on a screen so high that what is fixed to its edges stands where the page ends."""
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": width, "height": max(HEIGHT, min(height, MOST_PIXELS_HIGH))})
    picture: bytes = page.screenshot(full_page=True)
    page.set_viewport_size({"width": width, "height": HEIGHT})
    return picture


def shrink(picture: bytes) -> bytes:
    """The top of a picture in fewer colours."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image = image.crop((0, 0, image.width, min(image.height, MOST_PIXELS_HIGH)))
    target = io.BytesIO()
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(target, "PNG", optimize=True)
    return target.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description=__doc__)
    parser.add_argument("address", help="of the site, such as http://127.0.0.1:8000")
    parser.add_argument("name", help="a member of staff who may see all pages")
    parser.add_argument("password")
    parser.add_argument("--folder", type=Path, default=Path("data/screenshots"), help="for all pictures")
    parser.add_argument("--pages", nargs="+", choices=PAGES, default=list(PAGES))
    arguments = parser.parse_args()
    if find_chromium() is None:
        sys.exit(MISSING)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with open_browser() as browser:
        site = arguments.address.rstrip("/")
        for name, picture in visit(browser, site, arguments.name, arguments.password, arguments.pages):
            (arguments.folder / f"{name}.png").write_bytes(picture)
            for in_docs, chosen in IN_DOCS.items():
                if chosen == name:
                    (DOCS / f"{in_docs}.png").write_bytes(shrink(picture))


if __name__ == "__main__":
    main()
