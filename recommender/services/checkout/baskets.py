"""A basket as it is given, and as the rules see it."""

import hashlib
import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import CharField

from recommender.compiled import Compiled
from recommender.models import CATEGORY_SEPARATOR, Product
from recommender.rules.basket import Basket, BasketLine
from recommender.rules.currency import smallest_unit


@dataclass(frozen=True, slots=True)
class GivenLine:
    """A line as the shop tells it. The product may be one that was not loaded yet: then it has no category or brand."""

    line_id: str
    product_id: str
    quantity: Decimal
    unit_price: Decimal


@dataclass(frozen=True, slots=True)
class GivenBasket:
    """Lines, each of whose ``line_id`` stands once, and what sending them costs, in the shop's currency."""

    lines: tuple[GivenLine, ...]
    shipping: Decimal = Decimal(0)

    @property
    def digest(self) -> str:
        """SHA-256 of what the basket holds."""
        lines = [
            [line.line_id, line.product_id, f"{line.quantity:.3f}", f"{line.unit_price:.3f}"] for line in self.lines
        ]
        text = json.dumps([lines, f"{self.shipping:.3f}"], ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def describe_basket(given: GivenBasket, *, currency: str, with_catalogue: bool = True) -> Basket:
    """The basket with what the shop's catalogue knows of its products, which only coupons for some things ask for.

    Raises:
        ValueError: it is no basket; the message names the line and the field.
    """
    product_ids = {line.product_id for line in given.lines}
    products: dict[str, Any] = {}
    if with_catalogue and product_ids:
        products = {row["product_id"]: row for row in _read_products(product_ids=product_ids)}
    unknown = {"category__path": None, "brand": ""}
    lines = []
    for line in given.lines:
        product = products.get(line.product_id, unknown)
        lines.append(
            BasketLine(
                line_id=line.line_id,
                product_id=line.product_id,
                category_ids=_with_all_above(product["category__path"] or ""),
                brand=product["brand"],
                quantity=line.quantity,
                unit_price=line.unit_price,
            )
        )
    return Basket(lines=tuple(lines), shipping=given.shipping, unit=smallest_unit(currency))


_read_products = Compiled(
    lambda product_ids: Product.objects.filter(product_id__in=product_ids).values(
        "product_id", "brand", "category__path"
    ),
    product_ids=[CharField()],
)


def _with_all_above(path: str) -> frozenset[str]:
    levels = path.split(CATEGORY_SEPARATOR) if path else []
    return frozenset(CATEGORY_SEPARATOR.join(levels[: depth + 1]) for depth in range(len(levels)))
