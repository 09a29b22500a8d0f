"""What a marketer does in each kind of shop, in a real browser: a small shop of the kind, a real worker, and the API.

The shops are those that are made up for each preset. What is shown and served is held against the rows of the database,
by the rule of the kind of shop spelled out once more.
"""

import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db.models import Q, Sum
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from playwright.sync_api import Locator, Page, expect
from pytest_django.live_server_helper import LiveServer
from rest_framework.test import APIClient

from recommender.models import (
    CATEGORY_SEPARATOR,
    Batch,
    Campaign,
    Coupon,
    Device,
    DevicePart,
    Event,
    GroupBuy,
    Order,
    OrderLine,
    Product,
    ProjectStage,
    Run,
    SaleEvent,
    SaleEventHour,
    Segment,
    Seller,
    Shop,
    Shopper,
)
from recommender.presets.made_up import LIVE_CAMPAIGN
from recommender.reasons import in_words
from recommender.services.access import create_api_key
from recommender.services.segments import find_shoppers
from recommender.services.training import promote, train
from tests.browser.test_experiment import choose
from tests.browser.test_pages import overflow
from tests.browser.test_story import action, confirm, do, follow, wait_for_job

pytestmark = [pytest.mark.real, pytest.mark.django_db(transaction=True)]

SignIn = Callable[..., Page]
Lists = dict[str, list[str]]
#: Shoppers and coupons.
Pairs = set[tuple[str, str]]

#: All algorithms together take longer than a story.
ALGORITHM = "gradient_boosting"
TOP = 5
#: Rows on a page of a list.
LISTED = 50
HOUR = timedelta(hours=1)


# What all stories do


def open_shop(name: str, *, shoppers: int) -> Campaign:
    """A shop of a kind whose history ended yesterday, and its model; of what kind it is nobody has said yet."""
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    size = ("--shoppers", str(shoppers), "--shift-to", yesterday.isoformat())
    call_command("load_sample", name, *size, stdout=StringIO())
    version = next(each for each in train(algorithms=[ALGORITHM]).versions if each.algorithm == ALGORITHM)
    if Shop.current().champion != version:  # the gate is not sure of so few shoppers
        promote(model_version=version, reason="It is quick.")
    Shop.objects.update(preset="")
    return Campaign.objects.get(campaign_id=LIVE_CAMPAIGN)


def address(site: LiveServer, name: str, *arguments: object) -> str:
    return site.url + reverse(f"admin:recommender_{name}", args=arguments)


def choose_kind(sign_in: SignIn, site: LiveServer, title: str, files: str) -> None:
    """An administrator says what kind of shop it is, and reads which files are its own. Nobody else can."""
    page = address(site, "shop_change", Shop.current().pk)
    administrator = sign_in("ada", "administrator")
    administrator.goto(page)
    administrator.get_by_label("Kind of shop").select_option(title)
    follow(administrator.get_by_role("button", name="Save", exact=True))
    expect(administrator.get_by_text("was changed successfully")).to_be_visible()
    administrator.goto(page)
    expect(administrator.get_by_label("Kind of shop").locator("option:checked")).to_have_text(title)
    expect(looked_at(administrator, "Files of its own")).to_have_text(files)
    analyst = sign_in("alan", "analyst")
    analyst.goto(page)
    expect(looked_at(analyst, "Kind of shop")).to_have_text(title)
    expect(analyst.get_by_role("button", name="Save", exact=True)).to_have_count(0)
    analyst.goto(address(site, "campaign_change", Campaign.objects.get(campaign_id=LIVE_CAMPAIGN).pk))
    expect(action(analyst, "Results").first).to_be_visible()
    expect(action(analyst, "Recommend")).to_have_count(0)


def looked_at(page: Page, label: str) -> Locator:
    """What stands in a field of a form that nobody writes."""
    return page.locator(".field-line").filter(has=page.get_by_text(label, exact=True)).locator("> .grow > div").first


def open_list(page: Page, name: str, searched: str) -> list[list[str]]:
    """Go to a list by the sidebar, search it, and read what stands in its rows."""
    follow(page.get_by_role("link", name=re.compile(rf"(^|\s){name}$")).first)
    expect(page.get_by_role("heading", level=1)).to_contain_text(name)
    page.locator("#searchbar").fill(searched)
    with page.expect_navigation():
        page.locator("#searchbar").press("Enter")
    return cells(page.locator("#result_list tbody tr"))


def cells(rows: Locator) -> list[list[str]]:
    """What stands in the cells of the rows that are shown, without boxes to tick."""
    found = [row.locator("th, td:not(.action-checkbox)").all_inner_texts() for row in rows.all() if row.is_visible()]
    return [[text.strip() for text in row] for row in found if row]


def card(page: Page, heading: str) -> Locator:
    """The part of a page below a heading."""
    return page.locator(".desk-card").filter(has=page.get_by_role("heading", name=heading, exact=True))


def compute(editor: Page, site: LiveServer, campaign: Campaign) -> Run:
    """Start a computation on the page of the campaign, and watch it until it is done."""
    editor.goto(address(site, "campaign_change", campaign.pk))
    follow(action(editor, "Recommend").first)
    editor.fill("input[name=top]", str(TOP))
    confirm(editor, "Recommend")
    wait_for_job(editor)
    run = Run.objects.get()
    assert (run.state, run.created_by.username, run.top) == (Run.State.DRAFTED, "erin", TOP)  # type: ignore[union-attr]
    return run


def listed_by(run: Run) -> Lists:
    """What a run lists for each shopper, best first."""
    lists: Lists = defaultdict(list)
    rows = run.recommendations.offered().order_by("shopper__shopper_id", "rank")
    for shopper_id, coupon_id in rows.values_list("shopper__shopper_id", "coupon__coupon_id"):
        lists[shopper_id].append(coupon_id)
    return dict(lists)


def pairs_of(lists: Lists) -> Pairs:
    return {(shopper_id, coupon_id) for shopper_id, coupon_ids in lists.items() for coupon_id in coupon_ids}


def without(lists: Lists, kept: Pairs) -> Lists:
    return {who: [coupon for coupon in coupons if (who, coupon) not in kept] for who, coupons in lists.items()}


def find_reason(run: Run, kind: str, among: Iterable[str] | None = None) -> tuple[str, dict[str, Any]]:
    """A shopper whose first coupon is there for such a reason, and what that says."""
    first = run.recommendations.filter(rank=1).select_related("shopper").order_by("-score", "pk")
    for row in first if among is None else first.filter(shopper__shopper_id__in=set(among)):
        for reason in row.reasons:
            if reason["kind"] == kind and reason.get("log_odds", 0) > 0:
                return row.shopper.shopper_id, reason
    raise AssertionError(f"no list begins with {kind}")


def look_into(page: Page, site: LiveServer, run: Run, shopper_id: str, reason: dict[str, Any]) -> None:
    """Open a shopper of a run: the list is the run's, and the first coupon is there for the reason."""
    page.goto(address(site, "run_change", run.pk))
    page.fill("#find-shopper", shopper_id)
    follow(page.get_by_role("button", name="Look", exact=True))
    expect(page.get_by_role("heading", name=f"Shopper {shopper_id}").first).to_be_visible()
    rows = page.get_by_role("region", name="What the shopper is offered").locator("tbody tr")
    assert coupons_in(rows) == listed_by(run)[shopper_id]
    expect(rows.first).to_contain_text(in_words([reason])[0])


def kept_back(page: Page, words: str) -> set[str]:
    """The coupons of which “Why not the others” says this and nothing else."""
    rows = page.get_by_role("region", name="Why not the others").locator("tbody tr")
    said = rows.filter(has_text=words)
    assert {row[1] for row in cells(said)} == {words}
    return set(coupons_in(said))


def coupons_in(rows: Locator) -> list[str]:
    """The coupons that rows lead to."""
    paths = rows.locator("th a").evaluate_all("links => links.map(link => link.pathname)")
    by_path = {reverse("admin:recommender_coupon_change", args=[each.pk]): each for each in Coupon.objects.all()}
    return [by_path[path].coupon_id for path in paths]


def publish(sign_in: SignIn, site: LiveServer, run: Run) -> None:
    """Somebody approves, and a publisher publishes. Neither may do what is the other's."""
    page = address(site, "run_change", run.pk)
    approver = sign_in("anna", "approver")
    approver.goto(page)
    do(approver, "Approve")
    expect(action(approver, "Publish")).to_have_count(0)
    publisher = sign_in("paul", "publisher")
    publisher.goto(page)
    expect(action(publisher, "Approve")).to_have_count(0)
    follow(action(publisher, "Publish").first)
    if publisher.locator("input[name=accepted]").count():
        publisher.check("input[name=accepted]")
    confirm(publisher, "Publish")
    run.refresh_from_db()
    assert run.state == Run.State.PUBLISHED


class Till:
    """The shop's server, which asks what its shoppers are offered and brings their baskets."""

    def __init__(self) -> None:
        _row, key = create_api_key(name="till")
        self._client = APIClient()
        self._client.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")

    def ask(self, path: str) -> Any:
        answer = self._client.get(f"/api/v1/{path}")
        assert answer.status_code == 200, answer.json()
        return answer.json()

    def write(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        headers = {"Idempotency-Key": str(uuid4())}
        answer = self._client.post(f"/api/v1/{path}", body, format="json", headers=headers)
        return answer.status_code, answer.json()

    def lists(self, shopper_ids: Iterable[str]) -> Lists:
        status, answer = self.write("recommendations", {"shopper_ids": sorted(shopper_ids), "limit": 100})
        assert status == 200, answer
        return {
            each["shopper_id"]: [offered["coupon"]["coupon_id"] for offered in each["coupons"]]
            for each in answer["shoppers"]
        }

    def reserve(self, shopper_id: str, product: Product, price: str, *coupon_ids: str) -> tuple[int, Any]:
        line = {"line_id": "1", "product_id": product.product_id, "quantity": "1", "unit_price": price}
        asked = {"shopper_id": shopper_id, "basket": {"lines": [line]}, "coupon_ids": coupon_ids}
        return self.write("checkout/reservations", asked)

    def pay(self, shopper_id: str, product: Product, price: str, *coupon_ids: str) -> str:
        """What is taken off."""
        status, reserved = self.reserve(shopper_id, product, price, *coupon_ids)
        assert status == 201, reserved
        path = f"checkout/reservations/{reserved['reservation_id']}/confirm"
        status, confirmed = self.write(path, {"order_id": str(uuid4())})
        assert status == 200, confirmed
        return str(confirmed["discount"])


def check_on_a_phone_in_chinese(sign_in: SignIn, *addresses: str) -> None:
    """Pages are no wider than a telephone, and say what stands on them in the reader's language."""
    page = sign_in("li", "analyst", width=390, language="zh-CN")
    for each in addresses:
        page.goto(each)
        assert overflow(page) == [], each
        said = page.locator("#main :is(h2, thead th, dt, label)").all_inner_texts()
        assert said
        names = {str(row) for model in (Coupon, GroupBuy, SaleEvent) for row in model._default_manager.all()}
        said = [text.strip() for text in said if re.search("[a-z]{3}", text) and text.isascii()]
        assert set(said) <= names, each


# Smart appliances


def kept_by_devices() -> Pairs:
    """Coupons for parts of no device that the shopper owns."""
    models: dict[str, set[int]] = defaultdict(set)
    fits = DevicePart.objects.filter(product__targeted_by__coupon__campaigns__campaign_id=LIVE_CAMPAIGN)
    for coupon_id, model in fits.values_list("product__targeted_by__coupon__coupon_id", "device_product_id"):
        models[coupon_id].add(model)
    owned: dict[str, set[int]] = {
        shopper_id: set() for shopper_id in Shopper.objects.values_list("shopper_id", flat=True)
    }
    for shopper_id, model in Device.objects.filter(retired_at=None).values_list("shopper__shopper_id", "product_id"):
        owned[shopper_id].add(model)
    return {(who, coupon) for who, own in owned.items() for coupon, fitted in models.items() if not own & fitted}


def share_of_life(shopper_id: str, coupon_id: str) -> float:
    """How much of its life the part has used that a coupon replaces, added up from what its device told."""
    part = DevicePart.objects.filter(product__targeted_by__coupon__coupon_id=coupon_id).first()
    assert part is not None
    device = Device.objects.get(
        shopper__shopper_id=shopper_id, product__in=part.product.fits_devices.values("device_product")
    )
    replacing = DevicePart.objects.filter(device_product=device.product, part=part.part).values("product")
    replaced = OrderLine.objects.filter(order__shopper=device.shopper, product__in=replacing).order_by(
        "-order__ordered_at"
    )
    since = max([device.acquired_at, *replaced.values_list("order__ordered_at", flat=True)[:1]])
    told = Event.objects.filter(shopper=device.shopper, kind=Event.Kind.USAGE, occurred_at__gt=since)
    measured = told.filter(product__in=replacing).order_by("-occurred_at").first()
    if measured is not None:
        return float(measured.value)
    used = told.filter(product=device.product).aggregate(used=Sum("value"))["used"]
    return float(used) / float(part.life or 0)


def test_appliances(sign_in: SignIn, worker: subprocess.Popen, live_server: LiveServer) -> None:
    campaign = open_shop("appliances", shoppers=60)
    choose_kind(sign_in, live_server, "Smart appliances", "devices, device_parts")
    editor = sign_in("erin", "editor")
    run = compute(editor, live_server, campaign)
    shopper_id, reason = find_reason(run, "part_wears")

    # What the shopper owns, which nobody writes here, and what fits it, which she may.
    owned = Device.objects.filter(shopper__shopper_id=shopper_id).select_related("product").order_by("-pk")
    shown = open_list(editor, "Devices", shopper_id)
    assert [row[:3] for row in shown] == [[each.device_id, shopper_id, str(each.product)] for each in owned]
    expect(editor.locator("a[href*='/device/add/']")).to_have_count(0)
    model = owned[0].product
    fitting = DevicePart.objects.filter(device_product=model).select_related("product").order_by("-pk")
    shown = open_list(editor, "Parts of devices", model.product_id)
    assert [row[:3] for row in shown] == [[str(each.product), str(model), each.part] for each in fitting]
    assert [float(row[3].replace(",", "")) if row[3] != "-" else None for row in shown] == [
        each.life for each in fitting
    ]
    expect(editor.locator("a[href*='/devicepart/add/']")).not_to_have_count(0)

    # The first coupon is there as a part is worn, by as much as its device told; and what fits nothing is kept back.
    look_into(editor, live_server, run, shopper_id, reason)
    assert reason["share"] == pytest.approx(min(3, share_of_life(shopper_id, listed_by(run)[shopper_id][0])), abs=1e-3)
    kept = kept_by_devices()
    assert kept_back(editor, "It is for devices, and fits none that the shopper owns.") == {
        coupon_id for who, coupon_id in kept if who == shopper_id
    }
    check_on_a_phone_in_chinese(
        sign_in,
        editor.url,
        address(live_server, "device_changelist"),
        address(live_server, "devicepart_changelist"),
    )

    # What is served is what was published; once a device is given up, without what is for it.
    publish(sign_in, live_server, run)
    lists, till = listed_by(run), Till()
    assert len(lists) == 60
    assert not pairs_of(lists) & kept
    assert till.lists(lists) == lists
    owned.update(retired_at=timezone.now())
    kept = kept_by_devices()
    assert lists[shopper_id][0] not in till.lists(lists)[shopper_id]
    assert till.lists(lists) == without(lists, kept)


# Fresh food


def kept_by_stock(at: datetime) -> set[str]:
    """Coupons of whose products nothing is in stock that is good as long as it has to be."""
    kept = set()
    for coupon in Coupon.objects.filter(campaigns__campaign_id=LIVE_CAMPAIGN):
        opens = max(at, coupon.starts_at or at)
        products = Product.objects.filter(targeted_by__coupon=coupon)
        good = Batch.objects.filter(
            Q(sold_out_at=None) | Q(sold_out_at__gt=at),
            product__in=products,
            received_at__lte=opens,
            best_before__gt=opens,
            best_before__gte=coupon.ends_at or opens,
        )
        if not good.exists() and not products.filter(batches=None).exists():
            kept.add(coupon.coupon_id)
    return kept


def test_fresh_food(sign_in: SignIn, worker: subprocess.Popen, live_server: LiveServer) -> None:
    campaign = open_shop("fresh-food", shoppers=60)
    choose_kind(sign_in, live_server, "Fresh food", "batches")
    editor = sign_in("erin", "editor")
    run = compute(editor, live_server, campaign)
    shopper_id, reason = find_reason(run, "bought_every")

    # The first coupon is there as the household buys such things again; what goes bad too soon is kept back.
    look_into(editor, live_server, run, shopper_id, reason)
    kept = kept_by_stock(timezone.now())
    assert kept_back(editor, "What it is for is no longer good before the coupon could be used.") == kept != set()
    review = editor.url

    # Served is what was published.
    publish(sign_in, live_server, run)
    lists, till = listed_by(run), Till()
    assert len(lists) == 60
    assert not {coupon_id for _who, coupon_id in pairs_of(lists)} & kept
    assert till.lists(lists) == lists

    # She finds the stock of what is listed, and says of each batch that it is sold out: its coupon is served no more.
    markdown = Coupon.objects.filter(coupon_id__in=[each for _who, each in pairs_of(lists)], ends_at__isnull=False)[0]
    product = Product.objects.get(targeted_by__coupon=markdown)
    now = timezone.now()
    in_stock = Batch.objects.filter(product=product, sold_out_at=None, best_before__gt=now).order_by("-pk")
    shown = open_list(editor, "Batches", product.product_id)
    assert [row[:2] for row in shown] == [
        [each.batch_id, str(product)] for each in Batch.objects.filter(product=product).order_by("-pk")[:LISTED]
    ]
    assert in_stock
    for batch in in_stock:
        (row,) = open_list(editor, "Batches", batch.batch_id)
        assert row[2:] == [*(date_format(at, "DATETIME_FORMAT") for at in (batch.received_at, batch.best_before)), "-"]
        follow(editor.get_by_role("link", name=batch.batch_id, exact=True))
        sold = max(batch.received_at, now - HOUR) + timedelta(minutes=1)
        editor.fill("[name=sold_out_at_0]", f"{sold:%Y-%m-%d}")
        editor.fill("[name=sold_out_at_1]", f"{sold:%H:%M:%S}")
        follow(editor.get_by_role("button", name="Save", exact=True))
        expect(editor.get_by_text("was changed successfully")).to_be_visible()
    kept_now = kept_by_stock(timezone.now())
    assert markdown.coupon_id in kept_now - kept
    assert till.lists(lists) == without(lists, {(who, each) for who in lists for each in kept_now})
    editor.goto(review)
    assert kept_back(editor, "What it is for is no longer good before the coupon could be used.") == kept_now - set(
        lists[shopper_id]
    )
    check_on_a_phone_in_chinese(sign_in, review, address(live_server, "batch_changelist"))


# Home


def stages_of() -> dict[str, dict[str, int]]:
    """By project, the categories of its stages and their positions."""
    stages: dict[str, dict[str, int]] = defaultdict(dict)
    for project, path, position in ProjectStage.objects.values_list("project", "category__path", "position"):
        stages[project][path] = position
    return stages


def kept_by_projects() -> Pairs:
    """Coupons for things of a project that the shopper has finished: a coupon here is for things of one at most."""
    coupons: dict[str, set[str]] = defaultdict(set)
    stages = stages_of()
    targets = Coupon.objects.filter(campaigns__campaign_id=LIVE_CAMPAIGN).values_list(
        "coupon_id", "targets__category__path"
    )
    for coupon_id, path in targets:
        for project, places in stages.items():
            if any(path.startswith(place + CATEGORY_SEPARATOR) for place in places):
                coupons[project].add(coupon_id)
    last: dict[tuple[str, str, int], datetime] = {}
    lines = OrderLine.objects.order_by("order__ordered_at").values_list(
        "order__shopper__shopper_id", "product__category__path", "order__ordered_at"
    )
    for shopper_id, path, at in lines:
        for project, places in stages.items():
            for place, position in places.items():
                if path.startswith(place + CATEGORY_SEPARATOR):
                    last[shopper_id, project, position] = at
    never = datetime.min.replace(tzinfo=UTC)
    return {
        (shopper_id, coupon_id)
        for shopper_id, project, position in last
        if position == max(stages[project].values())
        and last.get((shopper_id, project, min(stages[project].values())), never) <= last[shopper_id, project, position]
        for coupon_id in coupons[project]
    }


def test_home(sign_in: SignIn, worker: subprocess.Popen, live_server: LiveServer) -> None:
    campaign = open_shop("home", shoppers=80)
    choose_kind(sign_in, live_server, "Home improvement", "project_stages")
    editor = sign_in("erin", "editor")

    # What each stage of a project needs.
    shown = open_list(editor, "Stages of projects", "Bathroom")
    assert shown == [
        ["Bathroom", str(position), name, "-", f"Bathroom{CATEGORY_SEPARATOR}{name}"]
        for position, name in ((1, "Tiling"), (2, "Fitting"), (3, "Finish"))
    ]
    expect(editor.locator("a[href*='/projectstage/add/']")).not_to_have_count(0)
    run = compute(editor, live_server, campaign)
    kept = kept_by_projects()
    shopper_id, reason = find_reason(run, "needed_in_project", among={who for who, _coupon in kept})

    # The first coupon is there as a project needs it next; those of a project that is finished are kept back.
    look_into(editor, live_server, run, shopper_id, reason)
    finished = "It is of a project that the shopper has finished."
    assert kept_back(editor, finished) == {coupon_id for who, coupon_id in kept if who == shopper_id}
    review = editor.url
    check_on_a_phone_in_chinese(sign_in, review, address(live_server, "projectstage_changelist"))

    # Served is what was published; once the project of the first coupon is finished, nothing of it is.
    publish(sign_in, live_server, run)
    lists, till = listed_by(run), Till()
    assert not pairs_of(lists) & kept
    assert till.lists(lists) == lists
    first = Coupon.objects.get(coupon_id=lists[shopper_id][0])
    path = first.targets.get().category.path  # type: ignore[union-attr]
    (places,) = (places for places in stages_of().values() if any(path.startswith(place) for place in places))
    final = max(places, key=lambda place: places[place])
    order = Order.objects.create(
        order_id="the-last", shopper=Shopper.objects.get(shopper_id=shopper_id), ordered_at=timezone.now()
    )
    bought = Product.objects.filter(category__path__startswith=final + CATEGORY_SEPARATOR)[0]
    OrderLine.objects.create(order=order, position=0, product=bought, quantity=1, amount=bought.price)
    kept_now = kept_by_projects()
    assert (shopper_id, first.coupon_id) in kept_now - kept
    assert till.lists(lists) == without(lists, kept_now)
    editor.goto(review)
    assert kept_back(editor, finished) == {
        coupon_id for who, coupon_id in kept_now if who == shopper_id and coupon_id not in lists[shopper_id]
    }


# Platform


def places_by_payer(run: Run) -> Counter[str]:
    """Of the places on all lists, those of coupons that each seller pays for; '' is the shop."""
    return Counter(run.recommendations.offered().values_list("coupon__funded_by", flat=True))


def test_platform(sign_in: SignIn, worker: subprocess.Popen, live_server: LiveServer) -> None:
    campaign = open_shop("platform", shoppers=60)
    choose_kind(sign_in, live_server, "Platform", "sellers")
    editor = sign_in("erin", "editor")

    # Who sells, and who pays for what a coupon takes off.
    shared = Coupon.objects.filter(funded_percent__isnull=False).earliest("coupon_id")
    seller = Seller.objects.get(seller_id=shared.funded_by)
    assert open_list(editor, "Sellers", seller.seller_id) == [[seller.seller_id, seller.name]]
    editor.goto(address(live_server, "coupon_change", shared.pk))
    expect(editor.locator("[name=funded_by]")).to_have_value(seller.seller_id)
    expect(editor.locator("[name=funded_percent]")).to_have_value(str(shared.funded_percent))

    # Each seller is promised a share of all places, which she raises.
    editor.goto(address(live_server, "campaign_change", campaign.pk))
    expect(editor.locator("[name=seller_floor_percent]")).to_have_value(re.compile(r"^0\.50?$"))
    editor.fill("[name=seller_floor_percent]", "1")
    follow(editor.get_by_role("button", name="Save", exact=True))
    expect(editor.get_by_text("was changed successfully")).to_be_visible()
    run = compute(editor, live_server, campaign)
    sellers = Seller.objects.count()
    places = places_by_payer(run)
    assert places.total() == 60 * TOP
    assert all(places[each.seller_id] >= 3 for each in Seller.objects.all())
    budget = address(live_server, "run_budget", run.pk)
    editor.goto(budget)
    for label, told in (
        ("Places for each seller", f"at least 1.00 % of all {60 * TOP} places, which are 3"),
        ("Reached for", f"{sellers} sellers, all of them"),
    ):
        expect(editor.locator("dt", has_text=label).locator("+ dd")).to_have_text(told)
    check_on_a_phone_in_chinese(sign_in, budget, address(live_server, "seller_changelist"))

    # A shopper pays with a coupon that a seller shares with the shop: who paid is told to the cent.
    publish(sign_in, live_server, run)
    lists, till = listed_by(run), Till()
    assert till.lists(lists) == lists
    shopper_id = min(who for who, coupons in lists.items() if shared.coupon_id in coupons)
    product = Product.objects.filter(targeted_by__coupon=shared).earliest("product_id")
    taken_off = round(Decimal(till.pay(shopper_id, product, "33.33", shared.coupon_id)), 2)
    assert taken_off == (Decimal("33.33") * shared.discount_value / 100).quantize(Decimal("0.01"), ROUND_HALF_UP)  # type: ignore[operator]
    of_seller = (taken_off * shared.funded_percent / 100).quantize(Decimal("0.01"), ROUND_HALF_UP)  # type: ignore[operator]
    editor.goto(address(live_server, "campaign_results", campaign.pk))
    assert cells(card(editor, "Who paid").locator("tr")) == [
        ["Payer", "Uses", "Paid of the discounts"],
        ["The shop", "1", f"{taken_off - of_seller} EUR"],
        [f"{seller.name} ({seller.seller_id})", "1", f"{of_seller} EUR"],
        ["Discount given", "", f"{taken_off} EUR"],
    ]


# Group buying


def test_group_buying(sign_in: SignIn, worker: subprocess.Popen, live_server: LiveServer) -> None:
    campaign = open_shop("group-buying", shoppers=100)
    choose_kind(sign_in, live_server, "Group buying", "groups, group_members")
    editor = sign_in("erin", "editor")
    run = compute(editor, live_server, campaign)
    publish(sign_in, live_server, run)
    lists, till = listed_by(run), Till()
    assert till.lists(lists) == lists

    # A shopper begins a group for the best of their coupons that takes more than two.
    first, coupon = next(
        (who, coupon)
        for who, names in lists.items()
        for coupon in Coupon.objects.filter(coupon_id__in=names, group_size=3).order_by("pk")
        if not GroupBuy.objects.filter(coupon=coupon, members__shopper__shopper_id=who).exists()
    )
    status, begun = till.write("groups", {"coupon_id": coupon.coupon_id, "shopper_id": first})
    assert status == 201, begun
    group = GroupBuy.objects.get(group_id=begun["group_id"])

    # She sees the open groups, those that close first first, and how likely each fills.
    follow(editor.get_by_role("link", name=re.compile("Open groups$")).first)
    now = timezone.now()
    is_open = GroupBuy.objects.filter(state=GroupBuy.State.OPEN, closes_at__gt=now).order_by("closes_at", "pk")
    shown = cells(card(editor, "Open groups").locator("tbody tr"))
    assert [row[:3] for row in shown] == [
        [str(each), str(each.coupon), f"{each.joined} / {each.size}"] for each in is_open.select_related("coupon")
    ]
    told = {row[0]: row[4] for row in shown}
    chance = told[str(group)]
    assert re.fullmatch(r"\d+ %", chance), "learned from past groups, not the share of those"

    # On the page of the group, whom to invite: the likeliest first, with the reasons that the API gives.
    follow(editor.get_by_role("link", name=str(group), exact=True))
    follow(action(editor, "Whom to invite").first)
    expect(card(editor, str(group)).get_by_text("1 / 3")).to_be_visible()
    expect(card(editor, str(group)).get_by_text(chance, exact=True)).to_be_visible()
    answer = till.ask(f"groups/{group.group_id}/invitees?limit=20")
    assert f"{100 * answer['chance']:.0f} %" == chance
    shown = cells(card(editor, "Likeliest to join").locator("tbody tr"))
    assert shown == [
        [each["shopper_id"], "; ".join(reason["text"] for reason in each["reasons"])] for each in answer["invitees"]
    ]
    assert "with its members before" in shown[0][1]
    check_on_a_phone_in_chinese(sign_in, editor.url, address(live_server, "groupbuy_outlook"))

    # The coupon does not hold before the group is full.
    product = Product.objects.get(targeted_by__coupon=coupon)
    status, refused = till.reserve(first, product, "100", coupon.coupon_id)
    assert (status, refused["code"]) == (409, "group_not_full")

    # The shop invites two. Who is invited is not proposed again; both join, and the coupon holds for the three.
    second, third = (row[0] for row in shown[:2])
    status, told_of = till.write(f"groups/{group.group_id}/invitations", {"shopper_ids": [second, third]})
    assert (status, told_of) == (200, {"invited": [second, third], "refused": []})
    editor.reload()
    left = [row[0] for row in cells(card(editor, "Likeliest to join").locator("tbody tr"))]
    assert not {second, third} & set(left)
    for who in (second, third):
        assert till.write(f"groups/{group.group_id}/members", {"shopper_id": who})[0] == 200
    late = next(who for who in left if who != first)
    status, refused = till.write(f"groups/{group.group_id}/members", {"shopper_id": late})
    assert (status, refused["code"]) == (409, "group_full")
    percent = coupon.discount_value
    for who in (first, second, third):
        assert Decimal(till.pay(who, product, "100", coupon.coupon_id)) == percent
    editor.goto(address(live_server, "groupbuy_change", group.pk))
    expect(editor.get_by_text("unlocked").first).to_be_visible()
    expect(action(editor, "Whom to invite")).to_have_count(0)

    # Another group of the campaign ran out of time; the results tell of both.
    other = GroupBuy.objects.create(
        coupon=coupon,
        size=3,
        joined=1,
        opened_at=campaign.starts_at,
        closes_at=campaign.starts_at + timedelta(seconds=1),
    )
    other.members.create(shopper=Shopper.objects.get(shopper_id=late), joined_at=campaign.starts_at, held_uses=0)
    editor.goto(address(live_server, "campaign_results", campaign.pk))
    hours = (timezone.now() - group.opened_at) / HOUR
    assert hours < 0.05
    figures = ["2", "1", "1", "0", "50.0 %", "0.0", "4", "2", "2 (100.0 %)"]
    assert cells(card(editor, "Groups").locator("tbody tr")) == [["All", *figures], [str(coupon), *figures]]
    used = cells(card(editor, "By coupon").locator("tbody tr"))
    assert [row[0] for row in used if row[0] == str(coupon)] == [str(coupon)]


# Big sale events


def let_pass(event: SaleEvent, time: timedelta) -> None:
    """As if the event had been set up so much earlier."""
    for hour in SaleEventHour.objects.filter(sale_event=event).order_by("starts_at"):
        SaleEventHour.objects.filter(pk=hour.pk).update(starts_at=hour.starts_at - time)
    event.refresh_from_db()
    SaleEvent.objects.filter(pk=event.pk).update(
        warm_up_at=event.warm_up_at - time, starts_at=event.starts_at - time, ends_at=event.ends_at - time
    )
    event.refresh_from_db()


def test_sale_events(sign_in: SignIn, worker: subprocess.Popen, live_server: LiveServer) -> None:
    campaign = open_shop("sale-events", shoppers=60)
    # The sample comes with an event and tiers; here all of that is for her to do.
    Campaign.objects.filter(sale_event__isnull=False).update(sale_event=None)
    Campaign.objects.filter(campaign_id__startswith=f"{LIVE_CAMPAIGN}-").delete()
    SaleEvent.objects.all().delete()
    Coupon.objects.filter(segment__isnull=False).delete()
    Segment.objects.all().delete()
    choose_kind(sign_in, live_server, "Big sale events", "-")
    analyst = sign_in("ann", "analyst")
    analyst.goto(address(live_server, "saleevent_changelist"))
    expect(analyst.locator("a[href*='/saleevent/add/']")).to_have_count(0)
    analyst.goto(address(live_server, "segment_changelist"))
    expect(action(analyst, "Reckon tiers")).to_have_count(0)

    # An event of three hours, with a warm-up, one coupon of it in a basket and no other, and money by the hour.
    editor = sign_in("erin", "editor")
    warm_up = timezone.now().replace(second=0, microsecond=0)
    starts = warm_up.replace(minute=0) + 2 * HOUR
    editor.goto(address(live_server, "saleevent_add"))
    editor.fill("[name=name]", "11.11")
    for name, moment in (("warm_up_at", warm_up), ("starts_at", starts), ("ends_at", starts + 3 * HOUR)):
        editor.fill(f"[name={name}_0]", f"{moment:%Y-%m-%d}")
        editor.fill(f"[name={name}_1]", f"{moment:%H:%M:%S}")
    editor.fill("[name=budget]", "10")
    editor.get_by_label("Budget comes").select_option("the same every hour")
    editor.fill("[name=most_coupons]", "1")
    editor.fill("[name=most_others]", "0")
    follow(editor.get_by_role("button", name="Save", exact=True))
    expect(editor.get_by_text("was added successfully")).to_be_visible()
    event = SaleEvent.objects.get()
    assert (event.warm_up_at, event.starts_at, event.ends_at) == (warm_up, starts, starts + 3 * HOUR)
    assert (event.budget, event.pacing, event.most_coupons, event.most_others) == (10, "even", 1, 0)

    # The campaign is put into it on its own page, and is named on that of the event.
    page = address(live_server, "saleevent_change", event.pk)
    editor.goto(address(live_server, "campaign_change", campaign.pk))
    choose(editor, "sale_event", "11.11")
    follow(editor.get_by_role("button", name="Save", exact=True))
    expect(editor.get_by_text("was changed successfully")).to_be_visible()
    editor.goto(page)
    expect(looked_at(editor, "Campaigns")).to_have_text(str(campaign))

    # The tiers, of those who ordered within a year and did not do so for the first time lately.
    last = Order.objects.latest("ordered_at").ordered_at
    old = Order.objects.filter(ordered_at__lte=last - timedelta(days=30)).values("shopper")
    tiered = Shopper.objects.filter(orders__ordered_at__gte=last - timedelta(days=365), pk__in=old).distinct().count()
    follow(editor.get_by_role("link", name=re.compile("Segments$")).first)
    do(editor, "Reckon tiers")
    expect(editor.get_by_text(f"The tiers were reckoned from {tiered} shoppers.")).to_be_visible()
    names = {segment.tier: segment.name for segment in Segment.objects.all()}
    assert {row[0] for row in cells(editor.locator("#result_list tbody tr"))} == set(names.values())
    assert set(names) == set(Segment.Tier.values)

    # Lists are computed and published: in the warm-up they are served, and nothing can be used yet.
    run = compute(editor, live_server, campaign)
    publish(sign_in, live_server, run)
    lists, till = listed_by(run), Till()
    assert till.lists(lists) == lists
    free = Coupon.objects.filter(min_spend=None, discount_value=5, campaigns=campaign)
    coupon = free.order_by("pk")[0]
    product = Product.objects.filter(targeted_by__coupon=coupon)[0]
    one, two = sorted(lists)[:2]
    status, refused = till.reserve(one, product, "40", coupon.coupon_id)
    assert (status, refused["code"]) == (409, "sale_event_not_started")

    # The event begins: of two coupons of it one holds. Who comes when the hour's money is spent waits for the next.
    let_pass(event, starts - timezone.now() + timedelta(minutes=5))
    for_other = Product.objects.exclude(category=product.category).filter(targeted_by__coupon__in=free)[0]
    other = free.get(targets__product=for_other)
    lines = [
        {"line_id": each.product_id, "product_id": each.product_id, "quantity": "1", "unit_price": price}
        for each, price in ((product, "30"), (for_other, "20"))
    ]
    asked = {"shopper_id": one, "basket": {"lines": lines}, "coupon_ids": [coupon.coupon_id, other.coupon_id]}
    status, quote = till.write("checkout/validate", asked)
    assert (status, [each["coupon_id"] for each in quote["coupons"]]) == (200, [coupon.coupon_id])
    assert [(each["asked"], each["code"]) for each in quote["refused"]] == [(other.coupon_id, "too_many_of_sale_event")]
    assert Decimal(till.pay(one, product, "40", coupon.coupon_id)) == 2
    status, refused = till.reserve(two, product, "40", coupon.coupon_id)
    assert (status, refused["code"]) == (409, "sale_event_hour_used_up")
    let_pass(event, HOUR)
    assert Decimal(till.pay(two, product, "40", coupon.coupon_id)) == 2
    let_pass(event, 3 * HOUR)
    assert till.lists(lists) == {who: [] for who in lists}

    # The morning after she reads what came of it.
    editor.goto(page)
    follow(action(editor, "Report").first)
    currency = Shop.current().currency
    expect(card(editor, "11.11")).to_be_visible()
    tiles = [tile.inner_text().split("\n") for tile in editor.locator(".desk-tile").all()]
    assert [[line for line in tile if line] for tile in tiles] == [
        ["Uses", "2"],
        ["Discount given", f"4.00 {currency}", f"of a budget of 10.00 {currency}"],
        ["Refused till more came", "1"],
    ]

    def money(*amounts: str) -> list[str]:
        return [f"{amount} {currency}" for amount in amounts]

    assert cells(card(editor, "Hour by hour").locator("tbody tr")) == [
        [date_format(event.starts_at + number * HOUR, "DATETIME_FORMAT"), *figures]
        for number, figures in enumerate(
            (
                [*money("3.34", "0.00", "2.00"), "1", "1"],
                [*money("3.33", "1.34", "2.00"), "1", "0"],
                [*money("3.33", "2.67", "0.00"), "0", "0"],
            )
        )
    ]
    of_tiers = {
        name: find_shoppers(segment=Segment.objects.get(name=name), at=event.starts_at)
        .filter(shopper_id__in=(one, two))
        .count()
        for name in (names[tier] for tier in Segment.Tier.values)
    }
    of_tiers["of no tier"] = 2 - sum(of_tiers.values())
    assert cells(card(editor, "By tier").locator("tbody tr")) == [
        [name, str(count), str(count), *money(f"{2 * count}.00"), ""] for name, count in of_tiers.items()
    ]
    assert cells(card(editor, "By campaign").locator("tbody tr")) == [
        [str(campaign), "2", "2", *money("4.00"), "Results"]
    ]
    check_on_a_phone_in_chinese(sign_in, editor.url, page, address(live_server, "saleevent_changelist"))
