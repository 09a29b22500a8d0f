"""Shops to test the model layer on: built by the shop's own identifiers, written as a snapshot's tables."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from recommender.ml.history import DATED_BY, SCHEMAS, Snapshot

DAY_0 = datetime(2021, 1, 1, tzinfo=UTC)

#: The tables in which things are numbered, and the columns that hold these numbers.
_NUMBERED = {
    "shopper": "shoppers",
    "product": "products",
    "category": "categories",
    "parent": "categories",
    "coupon": "coupons",
    "campaign": "campaigns",
    "order": "orders",
    "device_product": "products",
}
_SEPARATOR = " / "


def day(number: float) -> datetime:
    return DAY_0 + timedelta(days=number)


@dataclass
class Shop:
    """Rows by table. Things are named by identifiers; shoppers and products come into being when they are named."""

    things: dict[str, dict[str, dict[str, Any]]] = field(
        default_factory=lambda: {table: {} for table in dict.fromkeys(_NUMBERED.values())}
    )
    rows: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {table: [] for table in SCHEMAS if table not in _NUMBERED.values()}
    )

    def shopper(self, shopper: str, joined: datetime | None = None) -> Self:
        self.things["shoppers"].setdefault(
            shopper, {"shopper_id": shopper, "joined_at": joined or DAY_0, "opted_out": False}
        )
        return self

    def product(
        self,
        product: str,
        category: str | None = None,
        brand: str = "",
        price: float | None = None,
        rating: float | None = None,
    ) -> Self:
        levels = [] if category is None else category.split(_SEPARATOR)
        above = None
        for path in accumulate(levels, lambda *names: _SEPARATOR.join(names)):
            self.things["categories"].setdefault(path, {"path": path, "parent": above})
            above = path
        facts = {"category": category, "brand": brand, "price": price, "rating": rating}
        self.things["products"].setdefault(
            product, {"product_id": product, "name": product, "seller_id": "", "active": True} | facts
        )
        return self

    def sell(
        self,
        shopper: str,
        at: datetime,
        *products: str,
        amount: float = 1.0,
        quantity: float = 1.0,
        discount: float = 0.0,
        coupon_discount: float = 0.0,
        coupon: str | None = None,
    ) -> str:
        """One order with a line a product; returns the order's identifier, a later one for a later order."""
        order = f"{at.isoformat()} {shopper} {len(self.things['orders']):06}"
        self.shopper(shopper)
        self.things["orders"][order] = {"shopper": shopper, "ordered_at": at, "channel": "", "store_id": ""}
        for product in products:
            self.product(product)
            line = {"amount": amount, "quantity": quantity, "discount": discount, "coupon_discount": coupon_discount}
            of_order = {"order": order, "shopper": shopper, "ordered_at": at, "product": product, "coupon": coupon}
            self.rows["order_lines"].append(of_order | line)
        return order

    def coupon(self, coupon: str, *products: str, offer: str = "", value: float | None = None) -> Self:
        """A coupon for these products; for the whole shop without any."""
        facts = {"offer_id": offer, "discount_value": value, "whole_shop": not products}
        self.things["coupons"][coupon] = {"coupon_id": coupon, "title": "", "discount_type": "amount"} | facts
        self.rows["coupon_products"] += [{"coupon": coupon, "product": product} for product in products]
        return self

    def campaign(
        self,
        campaign: str,
        start: datetime,
        end: datetime,
        coupons: Iterable[str],
        shoppers: Iterable[str],
        control: Iterable[str] = (),
    ) -> Self:
        self.things["campaigns"][campaign] = {
            "campaign_id": campaign,
            "name": campaign,
            "kind": "",
            "starts_at": start,
            "ends_at": end,
        }
        self.rows["campaign_coupons"] += [{"campaign": campaign, "coupon": coupon} for coupon in coupons]
        for group, held_out in ((shoppers, False), (control, True)):
            for shopper in group:
                self.shopper(shopper)
                row = {"campaign": campaign, "shopper": shopper, "is_control": held_out}
                self.rows["campaign_shoppers"].append(row)
        return self

    def redeem(self, shopper: str, coupon: str, campaign: str | None, at: datetime, order: str | None = None) -> Self:
        self.rows["redemptions"].append(
            {"shopper": shopper, "coupon": coupon, "campaign": campaign, "redeemed_at": at, "order": order}
        )
        return self

    def event(
        self,
        shopper: str,
        kind: str,
        at: datetime,
        coupon: str | None = None,
        *,
        product: str | None = None,
        value: float | None = None,
    ) -> Self:
        facts = {"coupon": coupon, "product": product, "value": value}
        self.rows["events"].append({"shopper": shopper, "kind": kind, "occurred_at": at} | facts)
        return self

    def device(self, shopper: str, model: str, acquired: datetime, retired: datetime | None = None) -> Self:
        self.shopper(shopper).product(model)
        row = {"shopper": shopper, "product": model, "acquired_at": acquired, "retired_at": retired}
        self.rows["devices"].append(row)
        return self

    def part(self, product: str, model: str, part: str = "", life: float | None = None) -> Self:
        """A product that fits a model of devices."""
        self.product(product).product(model)
        row = {"product": product, "device_product": model, "part": part, "life": life}
        self.rows["device_parts"].append(row)
        return self

    def batch(self, product: str, received: datetime, best_before: datetime, sold_out: datetime | None = None) -> Self:
        """Pieces of a product that came in together."""
        self.product(product)
        row = {"product": product, "received_at": received, "best_before": best_before, "sold_out_at": sold_out}
        self.rows["batches"].append(row)
        return self

    def stage(self, project: str, position: int, *products: str) -> Self:
        """What a stage of a project needs."""
        for product in products:
            self.product(product)
            self.rows["project_stages"].append({"project": project, "position": position, "product": product})
        return self

    def offer(self, campaign: str, shopper: str, coupon: str, at: datetime, rank: int = 1) -> Self:
        self.rows["offers"].append(
            {"campaign": campaign, "shopper": shopper, "coupon": coupon, "rank": rank, "offered_at": at}
        )
        return self

    def write(self, folder: Path) -> Snapshot:
        """A snapshot of the shop in a new folder, numbered and ordered as ``services.snapshot_tables`` does."""
        folder.mkdir(parents=True)
        numbers = {
            column: {name: number for number, name in enumerate(sorted(self.things[table]))}
            for column, table in _NUMBERED.items()
        }
        for table, schema in SCHEMAS.items():
            own = next((column for column, of in _NUMBERED.items() if of == table), None)
            rows = self.rows.get(table) or [
                facts | {own: identifier} for identifier, facts in self.things.get(table, {}).items()
            ]
            frame = pl.DataFrame(
                [
                    {
                        column: numbers[column][row[column]]
                        if column in numbers and row.get(column) is not None
                        else row.get(column)
                        for column in schema
                    }
                    for row in rows
                ],
                schema=schema,
            )
            dated = [DATED_BY[table]] if table in DATED_BY and table != "campaigns" else []
            frame.sort([*dated, *schema], nulls_last=True).write_parquet(folder / f"{table}.parquet")
        return Snapshot(folder)


def numbers_of(snapshot: Snapshot, thing: str) -> dict[str, int]:
    """The numbers of shoppers, products, coupons or campaigns by their identifiers."""
    table = snapshot.scan(_NUMBERED[thing]).select(f"{thing}_id", thing).collect()
    return dict(table.iter_rows())


def pairs_of(snapshot: Snapshot, pairs: Iterable[tuple[str, str]]) -> pl.DataFrame:
    """(shopper, coupon) pairs by their numbers in a snapshot."""
    shoppers, coupons = numbers_of(snapshot, "shopper"), numbers_of(snapshot, "coupon")
    return pl.DataFrame(
        [(shoppers[shopper], coupons[coupon]) for shopper, coupon in pairs],
        schema={"shopper": pl.UInt32, "coupon": pl.UInt32},
        orient="row",
    )


# The generated shop

SHOPPERS = [f"S{number:02}" for number in range(60)]
LEAVES = [
    _SEPARATOR.join(path)
    for path in [
        ("Drinks", "Cold", "Juice"),
        ("Drinks", "Cold", "Soda"),
        ("Drinks", "Hot", "Coffee"),
        ("Drinks", "Hot", "Tea"),
        ("Food", "Fresh", "Bread"),
        ("Food", "Fresh", "Fruit"),
        ("Food", "Dry", "Pasta"),
        ("Food", "Dry", "Rice"),
    ]
]
PRODUCTS = [f"P{number:02}" for number in range(40)]
UNSOLD = "P99"
#: A coupon for three of the five products of each leaf, four for a brand's products, and these three.
WHOLE_SHOP, WITHOUT_SALE, NEW_COUPON = "V-whole-shop", "V-without-sale", "V-new"
LEAF_COUPONS = [f"V-leaf-{number}" for number in range(len(LEAVES))]
BRAND_COUPONS = [f"V-brand-{number}" for number in range(4)]
COUPONS = [*LEAF_COUPONS, *BRAND_COUPONS, WHOLE_SHOP, WITHOUT_SALE, NEW_COUPON]
NEW_SHOPPER = "S99"
#: Each lasts twenty days; a test's moment is the start of the last one.
CAMPAIGN_STARTS = {"first": 90, "second": 120, "third": 150, "fourth": 180, "last": 210}
CAMPAIGN_DAYS = 20
LAST_START = day(CAMPAIGN_STARTS["last"])
LAST_DAY = 240


def generated_shop(seed: int = 3) -> Shop:
    """Sixty shoppers, each with a taste for two leaves of the category tree and a readiness to use coupons.

    They buy what they like nine times as often as the rest, and use coupons for it likewise.
    """
    random = np.random.default_rng(seed)
    shop = Shop()
    for number, product in enumerate(PRODUCTS):
        leaf, brand = divmod(number, 5)
        price = None if brand == 4 else round(float(random.uniform(1, 9)), 2)
        shop.product(product, LEAVES[leaf], f"brand {brand}" if brand else "", price, rating=3.0 + brand / 4)
    shop.product(UNSOLD, LEAVES[0], "brand 1", 5.0, 4.0)
    for leaf, coupon in enumerate(LEAF_COUPONS):
        shop.coupon(coupon, *PRODUCTS[5 * leaf : 5 * leaf + 3], offer=f"offer {leaf}", value=1.0)
    for brand, coupon in enumerate(BRAND_COUPONS, start=1):
        shop.coupon(coupon, *PRODUCTS[brand::5], value=0.5)
    shop.coupon(WHOLE_SHOP, value=2.0)
    shop.coupon(WITHOUT_SALE, UNSOLD, value=1.0)
    shop.coupon(NEW_COUPON, *PRODUCTS[5:8], value=1.0)  # soda
    shop.shopper(NEW_SHOPPER, joined=day(200))
    homes = {shopper: ("town", "land")[number % 3] for number, shopper in enumerate(SHOPPERS) if number % 3 < 2}
    shop.rows["shopper_attributes"] += [
        {"shopper": shopper, "attribute": "home", "value": home} for shopper, home in homes.items()
    ]

    likes = np.ones((len(SHOPPERS), len(LEAVES)))
    for row in likes:
        row[random.choice(len(LEAVES), 2, replace=False, p=np.arange(8, 0, -1) / 36)] = 9.0
    ready = random.choice([0.04, 0.45], len(SHOPPERS), p=[0.5, 0.5])
    for taste, shopper in zip(likes, SHOPPERS, strict=True):
        share = np.repeat(taste, 5) * np.tile([3, 2, 1, 1, 1], 8)
        at = random.uniform(0, 12)
        while at < LAST_DAY:
            basket = random.choice(PRODUCTS, size=random.integers(1, 5), replace=False, p=share / share.sum())
            discount = float(random.random() < 0.3)
            shop.sell(shopper, day(at), *basket, amount=round(float(random.uniform(1, 9)), 2), discount=discount)
            at += random.exponential(6.0) + 0.01
    for campaign, start in CAMPAIGN_STARTS.items():
        order = random.permutation(len(SHOPPERS))
        treated = [SHOPPERS[number] for number in order[:45]]
        control = [SHOPPERS[number] for number in order[45:53]]
        coupons = [*LEAF_COUPONS, *BRAND_COUPONS[:2], WHOLE_SHOP, WITHOUT_SALE]
        if campaign == "last":
            coupons.append(NEW_COUPON)
        shop.campaign(campaign, day(start), day(start + CAMPAIGN_DAYS), coupons, treated, control)
        for shopper in treated:
            number = SHOPPERS.index(shopper)
            for coupon in coupons:
                at = day(start + random.uniform(0, CAMPAIGN_DAYS))
                liked = {leaf: likes[number, place] > 1 for place, leaf in enumerate(LEAF_COUPONS)}
                chance = ready[number] * (1.0 if liked.get(coupon, coupon == WHOLE_SHOP) else 0.04)
                if random.random() < 0.1 + chance / 2:
                    shop.event(shopper, "click" if random.random() < 0.8 else "dismiss", at, coupon)
                if coupon != WITHOUT_SALE and random.random() < chance:
                    shop.redeem(shopper, coupon, campaign, at)
    return shop
