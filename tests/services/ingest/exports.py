"""A small shop export, written as CSV, and what its tables hold."""

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from django.db import models

from recommender.models import (
    Batch,
    Campaign,
    CampaignCoupon,
    CampaignShopper,
    Category,
    Coupon,
    CouponTarget,
    Device,
    DevicePart,
    Event,
    Order,
    OrderLine,
    Product,
    ProjectStage,
    Redemption,
    Seller,
    Shop,
    Shopper,
)

TABLES: tuple[type[models.Model], ...] = (
    Shop,
    Shopper,
    Category,
    Product,
    Order,
    OrderLine,
    Coupon,
    CouponTarget,
    Campaign,
    CampaignCoupon,
    CampaignShopper,
    Redemption,
    Event,
    Device,
    DevicePart,
    Batch,
    ProjectStage,
    Seller,
)

EXPORT: Mapping[str, str] = {
    "shoppers": """\
shopper_id,joined_at,opted_out,age_band,income
s1,2023-12-01,false,65+,
s2,,true,,
s3,2024-01-05T10:00:00+02:00,,"19, or 20",50-74K
""",
    "products": """\
product_id,name,category,brand,price,cost,rating,seller_id,active,size
p1,Ice,Grocery / Frozen / Ice,Polar,2.50,1.125,4.5,,true,22 LB
p2,Bread,Grocery / Bakery,,3,,,m1,,
p3,,,,,,,,false,
""",
    "orders": """\
order_id,shopper_id,ordered_at,channel,store_id
o1,s1,2024-03-01T09:30:00,web,
o2,s2,2024-03-02T23:59:59.250Z,,12
""",
    "order_lines": """\
order_id,product_id,quantity,amount,discount,coupon_discount,coupon_id
o1,p1,2,4.5,0.5,1.005,c1
o1,p2,1.5,4.50,,,
o2,p1,0,0,0,0,
o1,p1,1,2.5,0,0,
""",
    "coupons": """\
coupon_id,offer_id,title,code,discount_type,discount_value,min_spend,max_discount,total_limit,per_shopper_limit,\
starts_at,ends_at,stackable,budget,funded_by
c1,ice,Ice,ICE10,percent,10,5,20,1000,1,2024-03-01,2024-03-31,true,500,m1
c2,,,,,,,,,,,,,,
""",
    "coupon_products": """\
coupon_id,product_id,category,brand
c1,p1,,
c1,,Grocery / Frozen,
c1,,,Polar
""",
    "campaigns": """\
campaign_id,name,kind,starts_at,ends_at,budget
m1,March,Type A,2024-03-01,2024-03-31,1000
m2,,,2024-04-01T08:00:00,2024-04-30T20:00:00,
""",
    "campaign_coupons": "campaign_id,coupon_id\nm1,c1\nm2,c1\n",
    "campaign_shoppers": "campaign_id,shopper_id,group\nm1,s1,\nm1,s2,control\n",
    "redemptions": """\
shopper_id,coupon_id,redeemed_at,campaign_id,order_id,discount_amount
s1,c1,2024-03-01T09:30:00,m1,o1,1.005
s1,c1,2024-03-01T09:30:00,,,
""",
    "events": """\
event_id,shopper_id,kind,occurred_at,coupon_id,product_id,campaign_id,value
e1,s1,click,2024-03-01T08:00:00,c1,,m1,
,s2,view,2024-03-01T08:00:00,,p1,,2.5
""",
}


def write_export(folder: Path, **changed: str | None) -> Path:
    """Write the small export into a folder; a keyword replaces a file's text, None leaves the file out."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {**EXPORT, **changed}.items():
        if text is not None:
            (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


def as_gzip(folder: Path) -> None:
    for path in list(folder.glob("*.csv")):
        with gzip.open(f"{path}.gz", "wb") as file:
            file.write(path.read_bytes())
        path.unlink()


def as_parquet(folder: Path) -> None:
    """The same tables with the types that tools infer."""
    for path in list(folder.glob("*.csv")):
        pl.read_csv(path, try_parse_dates=False, infer_schema_length=None).write_parquet(path.with_suffix(".parquet"))
        path.unlink()


def contents() -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, with its primary key."""
    return {model.__name__: list(model._default_manager.order_by("pk").values()) for model in TABLES}
