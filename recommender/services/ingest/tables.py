"""The shop export, declared: its files, their columns, what each is kept as. ``docs/data-format.md`` is the prose."""

from dataclasses import dataclass, field

import polars as pl
from django.db import models

from recommender.models import (
    Batch,
    Campaign,
    CampaignCoupon,
    CampaignShopper,
    Coupon,
    CouponTarget,
    Device,
    DevicePart,
    Event,
    GroupBuy,
    GroupBuyMember,
    Order,
    OrderLine,
    Product,
    ProjectStage,
    Redemption,
    Seller,
    Shopper,
)
from recommender.models.coupons import MOST_GROUP_HOURS
from recommender.sentences import say
from recommender.services.ingest.kinds import (
    CategoryPath,
    Choice,
    Exact,
    Flag,
    Kind,
    Moment,
    Real,
    Text,
    UniqueId,
    Whole,
)

IDENTIFIER = Text(64)
MONEY = Exact()
ATTRIBUTE = Text(500)
#: The column of a staged frame that says where in its file a row stands. No shop calls a column so.
LINE = "__line_in_file__"
#: What ``refers_to`` calls the levels of the catalogue, which have no file of their own.
CATEGORIES = "categories"
LEAST_GROUP = 2


@dataclass(frozen=True)
class Column:
    """A column of a file.

    ``refers_to`` names the table whose identifiers it holds. ``empty`` is kept for an empty cell. ``attribute`` is the
    model's, where it is not the column's name.
    """

    name: str
    kind: Kind = IDENTIFIER
    required: bool = False
    refers_to: str | None = None
    empty: str | bool | int | None = None
    attribute: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "attribute", self.attribute or self.name)


@dataclass(frozen=True)
class Check:
    """What the columns of one row must be together: a row for which ``wrong`` is true is put aside."""

    column: str
    wrong: pl.Expr
    reason: str


@dataclass(frozen=True)
class Table:
    """A file of the export and the model that keeps its rows.

    Attributes:
        key: attributes of the model that tell one row from another.
        identifier: the column that other tables refer to.
        replaced_with: a column of the key. Of its values that the file holds, the stored rows that the file lacks are
            removed.
        keeps_unknown_columns: whether columns of the shop's own become ``attributes``.
        fixed: attributes of new rows that the export does not tell.
    """

    name: str
    model: type[models.Model]
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    required: bool = False
    identifier: str | None = None
    replaced_with: str | None = None
    keeps_unknown_columns: bool = False
    checks: tuple[Check, ...] = ()
    fixed: dict[str, str | bool | int] = field(default_factory=dict)

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


ENDS_AFTER_START = Check("ends_at", pl.col("ends_at") <= pl.col("starts_at"), say("The end is not after starts_at."))

#: In an order in which a table stands after those that it refers to.
TABLES = (
    Table(
        "shoppers",
        Shopper,
        (
            Column("shopper_id", required=True),
            Column("joined_at", Moment()),
            Column("opted_out", Flag(), empty=False),
        ),
        key=("shopper_id",),
        required=True,
        identifier="shopper_id",
        keeps_unknown_columns=True,
    ),
    Table(
        "products",
        Product,
        (
            Column("product_id", required=True),
            Column("name", Text(300), empty=""),
            Column("category", CategoryPath(), refers_to=CATEGORIES, attribute="category_id"),
            Column("brand", Text(200), empty=""),
            Column("price", MONEY),
            Column("cost", MONEY),
            Column("rating", Real()),
            Column("seller_id", empty=""),
            Column("active", Flag(), empty=True),
        ),
        key=("product_id",),
        required=True,
        identifier="product_id",
        keeps_unknown_columns=True,
    ),
    Table(
        "sellers",
        Seller,
        (Column("seller_id", required=True), Column("name", Text(300), empty="")),
        key=("seller_id",),
    ),
    Table(
        "orders",
        Order,
        (
            Column("order_id", required=True),
            Column("shopper_id", required=True, refers_to="shoppers"),
            Column("ordered_at", Moment(), required=True),
            Column("channel", Text(64), empty=""),
            Column("store_id", empty=""),
        ),
        key=("order_id",),
        required=True,
        identifier="order_id",
    ),
    Table(
        "coupons",
        Coupon,
        (
            Column("coupon_id", required=True),
            Column("offer_id", empty=""),
            Column("title", Text(300), empty=""),
            Column("code", Text(64), empty=""),
            Column("discount_type", Choice(tuple(Coupon.DiscountType.values)), empty=""),
            Column("discount_value", MONEY),
            Column("min_spend", MONEY),
            Column("max_discount", MONEY),
            Column("total_limit", Whole()),
            Column("per_shopper_limit", Whole()),
            Column("starts_at", Moment()),
            Column("ends_at", Moment(through_day=True)),
            Column("stackable", Flag(), empty=False),
            Column("budget", MONEY),
            Column("funded_by", empty=""),
            Column("funded_percent", Whole()),
            Column("group_size", Whole()),
            Column("group_hours", Whole()),
        ),
        key=("coupon_id",),
        required=True,
        identifier="coupon_id",
        checks=(
            ENDS_AFTER_START,
            Check(
                "discount_value",
                (pl.col("discount_type") == "percent") & (pl.col("discount_value") > 100),
                say("More than 100 percent."),
            ),
            Check(
                "funded_percent",
                ~pl.col("funded_percent").is_between(1, 100),
                say("A seller pays from 1 to 100 percent."),
            ),
            Check(
                "funded_percent",
                pl.col("funded_percent").is_not_null() & (pl.col("funded_by").fill_null("") == ""),
                say("Expected funded_by with funded_percent."),
            ),
            Check(
                "group_size",
                pl.col("group_size").is_null() != pl.col("group_hours").is_null(),
                say("Expected both group_size and group_hours, or neither."),
            ),
            Check("group_size", pl.col("group_size") < LEAST_GROUP, say("A group has at least 2 shoppers.")),
            Check(
                "group_hours",
                ~pl.col("group_hours").is_between(1, MOST_GROUP_HOURS),
                say("A group has from 1 hour to a year to fill."),
            ),
        ),
        fixed={"active": True},
    ),
    Table(
        "order_lines",
        OrderLine,
        (
            Column("order_id", required=True, refers_to="orders"),
            Column("product_id", required=True, refers_to="products"),
            Column("quantity", Exact(digits=12), required=True),
            Column("amount", Exact(negative=True), required=True),
            Column("discount", MONEY, empty=0),
            Column("coupon_discount", MONEY, empty=0),
            Column("coupon_id", refers_to="coupons"),
        ),
        key=("order_id", "position"),
        required=True,
        replaced_with="order_id",
    ),
    Table(
        "coupon_products",
        CouponTarget,
        (
            Column("coupon_id", required=True, refers_to="coupons"),
            Column("product_id", refers_to="products"),
            Column("category", CategoryPath(), refers_to=CATEGORIES, attribute="category_id"),
            Column("brand", Text(200), empty=""),
        ),
        key=("coupon_id", "product_id", "category_id", "brand"),
        replaced_with="coupon_id",
        checks=(
            Check(
                "product_id",
                pl.sum_horizontal(pl.col("product_id", "category", "brand").is_not_null()) != 1,
                say("Expected one of product_id, category and brand, and one only."),
            ),
        ),
    ),
    Table(
        "campaigns",
        Campaign,
        (
            Column("campaign_id", required=True),
            Column("name", Text(300), empty=""),
            Column("kind", Text(64), empty=""),
            Column("starts_at", Moment(), required=True),
            Column("ends_at", Moment(through_day=True), required=True),
            Column("budget", MONEY),
        ),
        key=("campaign_id",),
        identifier="campaign_id",
        checks=(ENDS_AFTER_START,),
    ),
    Table(
        "campaign_coupons",
        CampaignCoupon,
        (
            Column("campaign_id", required=True, refers_to="campaigns"),
            Column("coupon_id", required=True, refers_to="coupons"),
        ),
        key=("campaign_id", "coupon_id"),
    ),
    Table(
        "campaign_shoppers",
        CampaignShopper,
        (
            Column("campaign_id", required=True, refers_to="campaigns"),
            Column("shopper_id", required=True, refers_to="shoppers"),
            Column("group", Choice(tuple(CampaignShopper.Group.values)), empty="treatment"),
        ),
        key=("campaign_id", "shopper_id"),
    ),
    Table(
        "redemptions",
        Redemption,
        (
            Column("shopper_id", required=True, refers_to="shoppers"),
            Column("coupon_id", required=True, refers_to="coupons"),
            Column("redeemed_at", Moment(), required=True),
            Column("campaign_id", refers_to="campaigns"),
            Column("order_id", refers_to="orders"),
            Column("discount_amount", MONEY),
        ),
        key=("shopper_id", "coupon_id", "redeemed_at", "campaign_id", "order_id"),
    ),
    Table(
        "events",
        Event,
        (
            Column("event_id"),
            Column("shopper_id", required=True, refers_to="shoppers"),
            Column("kind", Choice(tuple(Event.Kind.values)), required=True),
            Column("occurred_at", Moment(), required=True),
            Column("coupon_id", refers_to="coupons"),
            Column("product_id", refers_to="products"),
            Column("campaign_id", refers_to="campaigns"),
            Column("value", Real()),
        ),
        key=("event_key",),
    ),
    Table(
        "devices",
        Device,
        (
            Column("device_id", required=True),
            Column("shopper_id", required=True, refers_to="shoppers"),
            Column("product_id", required=True, refers_to="products"),
            Column("acquired_at", Moment(), required=True),
            Column("retired_at", Moment()),
        ),
        key=("device_id",),
        checks=(
            Check(
                "retired_at",
                pl.col("retired_at") <= pl.col("acquired_at"),
                say("The end is not after acquired_at."),
            ),
        ),
    ),
    Table(
        "device_parts",
        DevicePart,
        (
            Column("product_id", required=True, refers_to="products"),
            Column("device_product_id", required=True, refers_to="products"),
            Column("part", Text(64), empty=""),
            Column("life", Real()),
        ),
        key=("product_id", "device_product_id"),
        replaced_with="product_id",
        checks=(Check("life", pl.col("life") <= 0, say("Expected more than 0.")),),
    ),
    Table(
        "project_stages",
        ProjectStage,
        (
            Column("project", Text(64), required=True),
            Column("position", Whole(), required=True),
            Column("stage", Text(64), empty=""),
            Column("product_id", refers_to="products"),
            Column("category", CategoryPath(), refers_to=CATEGORIES, attribute="category_id"),
        ),
        key=("project", "product_id", "category_id"),
        replaced_with="project",
        checks=(
            Check(
                "product_id",
                pl.sum_horizontal(pl.col("product_id", "category").is_not_null()) != 1,
                say("Expected product_id or category, and one only."),
            ),
        ),
    ),
    Table(
        "batches",
        Batch,
        (
            Column("batch_id", required=True),
            Column("product_id", required=True, refers_to="products"),
            Column("received_at", Moment(), required=True),
            Column("best_before", Moment(through_day=True), required=True),
            Column("sold_out_at", Moment()),
        ),
        key=("batch_id",),
        checks=(
            Check(
                "best_before",
                pl.col("best_before") <= pl.col("received_at"),
                say("The end is not after received_at."),
            ),
            Check(
                "sold_out_at",
                pl.col("sold_out_at") <= pl.col("received_at"),
                say("The end is not after received_at."),
            ),
        ),
    ),
    Table(
        "groups",
        GroupBuy,
        (
            Column("group_id", UniqueId(), required=True),
            Column("coupon_id", required=True, refers_to="coupons"),
            Column("size", Whole(), required=True),
            Column("opened_at", Moment(), required=True),
            Column("closes_at", Moment(), required=True),
            Column("ended_at", Moment(), required=True),
        ),
        key=("group_id",),
        identifier="group_id",
        checks=(
            Check("size", pl.col("size") < LEAST_GROUP, say("A group has at least 2 shoppers.")),
            Check("closes_at", pl.col("closes_at") <= pl.col("opened_at"), say("The end is not after opened_at.")),
            Check(
                "ended_at",
                (pl.col("ended_at") < pl.col("opened_at")) | (pl.col("ended_at") > pl.col("closes_at")),
                say("Expected a moment from opened_at to closes_at."),
            ),
        ),
        # What became of it follows from its members; recommender.services.ingest.groups.
        fixed={"state": GroupBuy.State.FAILED.value, "joined": 0},
    ),
    Table(
        "group_members",
        GroupBuyMember,
        (
            Column("group_id", UniqueId(), required=True, refers_to="groups"),
            Column("shopper_id", required=True, refers_to="shoppers"),
            Column("joined_at", Moment(), required=True),
        ),
        key=("group_id", "shopper_id"),
        fixed={"held_uses": 0},
    ),
)
