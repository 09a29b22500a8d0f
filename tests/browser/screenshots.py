"""Pictures of the staff desk's main pages, taken from a site that runs.

``make screenshots PASSWORD=…`` visits the pages in every language at two widths, puts what it sees
into a folder, and a few of the pictures into ``docs/screenshots``. With ``SHOP=home``, of a site that was begun by
``make demo SHOP=home``, it visits the pages of that kind of shop too, and two pictures are put into
``docs/screenshots/presets`` instead. It only looks. A page that has nothing to show, such as that of an approved run
where none is approved, is named and left out.
"""

import argparse
import io
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from recommender.presets import PRESETS
from tests.browser.chromium import MISSING, find_chromium, open_browser, sign_in_at

WIDTHS = {"wide": 1280, "phone": 390}
LANGUAGES = {"en": "en", "zh-hans": "zh-CN"}
HEIGHT = 900
LONGEST_WAIT = 120_000  # milliseconds: a page may sum up what nobody asked for before
SHOP = "complete-journey"
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
    "budget": "budget-en-wide-light",
    "results": "results-en-wide-light",
    "models": "models-en-wide-light",
}


@dataclass(frozen=True)
class OfKind:
    """What a kind of shop is shown by.

    Attributes:
        pages: its own, by name; the first of them stands in the docs.
        says: a part of the reasons for its coupons. A shopper is shown whose list has one.
    """

    pages: Mapping[str, Callable[["Desk"], None]]
    says: str = ""


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


def show_shopper_with(says: str) -> Callable[[Desk], None]:
    """The first of a sample whose page says so, or else the last."""

    def show(desk: Desk) -> None:
        show_shopper(desk)
        desk.follow("#main a[href$='/sample/']")
        links = desk.page.locator("#main a[href*='/shoppers/']")
        for path in [str(link.get_attribute("href")) for link in links.all()]:
            desk.go(path.partition("/admin/")[2])
            if desk.page.locator("td").filter(has_text=says).count():
                return

    return show


def show_invitees(desk: Desk) -> None:
    desk.go("recommender/groupbuy/outlook/")
    desk.follow("#main th a[href*='/groupbuy/']")
    desk.follow("a[href*='whom_to_invite']")


def show_event_report(desk: Desk) -> None:
    desk.go(desk.first_of("saleevent") + "report/")


def show_budget(desk: Desk) -> None:
    desk.go(desk.first_of("run", "state__exact=drafted", "state__exact=approved", "") + "budget/")


def show_budget_curve(desk: Desk) -> None:
    desk.go(desk.first_of("run", "budget__isnull=False") + "budget/")


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
    "budget": show_budget_curve,
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
#: By kind of shop.
OF_KINDS: dict[str, OfKind] = {
    "platform": OfKind({"sellers-places": show_budget, "sellers": at("recommender/seller/")}),
    "appliances": OfKind(
        {"device-parts": at("recommender/devicepart/?q=P0000000"), "devices": at("recommender/device/")},
        says="of its life",
    ),
    "fresh-food": OfKind({"batches": at("recommender/batch/")}, says="such things about every"),
    "home": OfKind({"project-stages": at("recommender/projectstage/")}, says="is needed"),
    "group-buying": OfKind({"open-groups": at("recommender/groupbuy/outlook/"), "invitees": show_invitees}),
    "sale-events": OfKind(
        {"sale-event": show_first("saleevent"), "sale-event-report": show_event_report},
    ),
}
#: Taken in the dark too.
IN_THE_DARK = {"home", "run", "shopper", "results", "models", "campaign", "upload"}


def pages_of(shop: str) -> dict[str, Callable[[Desk], None]]:
    """All pages of a site with such a shop."""
    kind = OF_KINDS.get(shop)
    if kind is None:
        return PAGES
    return {**PAGES, **kind.pages, "shopper": show_shopper_with(kind.says) if kind.says else show_shopper}


def in_docs_of(shop: str) -> dict[str, str]:
    """What stands in the docs, by the path that it has there below the folder of pictures."""
    kind = OF_KINDS.get(shop)
    if kind is None:
        return IN_DOCS
    name = shop.replace("-", "_")
    return {
        f"presets/{name}": f"{next(iter(kind.pages))}-en-wide-light",
        f"presets/{name}-shopper": "shopper-en-wide-light",
    }


def visit(
    browser: Any,
    address: str,
    name: str,
    password: str,
    *,
    time_zone: str,
    pages: Mapping[str, Callable[[Desk], None]],
) -> Iterator[tuple[str, bytes]]:
    """Each page in each language at each width, and some in the dark too: a name and a picture.

    Args:
        time_zone: the shop's: the desk warns whoever sits in another.
    """
    for language, locale in LANGUAGES.items():
        for size, width in WIDTHS.items():
            for theme in ("light", "dark"):
                context = browser.new_context(
                    viewport={"width": width, "height": HEIGHT},
                    locale=locale,
                    timezone_id=time_zone,
                    color_scheme=theme,
                    reduced_motion="reduce",
                )
                desk = Desk(context.new_page(), address)
                sign_in_at(desk.page, address, name, password)
                for page in pages if theme == "light" else [page for page in pages if page in IN_THE_DARK]:
                    picture = f"{page}-{language}-{size}-{theme}"
                    try:
                        pages[page](desk)
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
    parser.add_argument("--shop", choices=[SHOP, *OF_KINDS], default=SHOP, help="the sample that the site shows")
    parser.add_argument("--pages", nargs="+", metavar="PAGE", help="only these")
    arguments = parser.parse_args()
    if find_chromium() is None:
        sys.exit(MISSING)
    pages = pages_of(arguments.shop)
    if unknown := set(arguments.pages or ()) - set(pages):
        parser.error(f"no such page: {', '.join(sorted(unknown))}. There are {', '.join(pages)}.")
    chosen = {page: show for page, show in pages.items() if page in (arguments.pages or pages)}
    arguments.folder.mkdir(parents=True, exist_ok=True)
    with open_browser() as browser:
        pictures = visit(
            browser,
            arguments.address.rstrip("/"),
            arguments.name,
            arguments.password,
            time_zone=PRESETS[arguments.shop].time_zone,
            pages=chosen,
        )
        for name, picture in pictures:
            (arguments.folder / f"{name}.png").write_bytes(picture)
            for path, shown in in_docs_of(arguments.shop).items():
                if shown == name:
                    (DOCS / f"{path}.png").write_bytes(shrink(picture))


if __name__ == "__main__":
    main()
