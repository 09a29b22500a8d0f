"""Kinds of shop, reached by name.

Each has a shop of its kind to show: it writes an export, which comes in by the same door as any other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from pathlib import Path

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from recommender.progress import Progress


@dataclass(frozen=True)
class StartedGroup:
    """A group for a coupon: who joined it and when, the first of them began it."""

    coupon_id: str
    members: tuple[tuple[str, datetime], ...]


@dataclass(frozen=True)
class SampleSaleEvent:
    """A sale event that a sample is shown with.

    Attributes:
        campaign_id: the sample's campaign that is in it. Its window is that of the event with the warm-up.
        warm_up: how much of the window that is.
        budget_a_shopper: of the shop's shoppers.
    """

    name: str
    campaign_id: str
    warm_up: timedelta
    budget_a_shopper: Decimal


@dataclass(frozen=True)
class Preset:
    """A kind of shop and a sample of it.

    Attributes:
        module: has ``write_export(*, folder, shift_to, progress)``, and for a made-up shop ``shoppers`` and ``seed``.
            It is imported only when it is called.
        last_order_id: the order that ends its history, by which a shop that holds the sample is known.
        title: what the kind is called where staff choose it; None for a sample of no kind of its own.
        files: what its export holds besides the files that every shop may have.
        sale_event: what is set up once it is loaded, with tiers of shoppers and an offer for each.
        seller_floor_percent: of all places so much is promised to each seller in its live campaign.
        shoppers: how many a made-up shop has unless told; None for a real one, which is as it is.
        has_open_groups: whether ``module`` has ``open_groups(*, shift_to, shoppers, seed)`` too.
    """

    shop_name: str
    time_zone: str
    currency: str
    module: str
    last_order_id: str
    title: str | Promise | None = None
    files: tuple[str, ...] = ()
    sale_event: SampleSaleEvent | None = None
    seller_floor_percent: Decimal | None = None
    shoppers: int | None = None
    has_open_groups: bool = False

    def write_export(
        self,
        *,
        folder: Path,
        shift_to: date | None = None,
        shoppers: int | None = None,
        seed: int = 0,
        progress: Progress = Progress(),
    ) -> Mapping[str, int]:
        """Write the sample as a shop export into an empty folder.

        Args:
            folder: takes the files.
            shift_to: the local day on which the last order shall fall, or with which the history of a made-up shop
                ends. All times move by the same number of whole days of the shop's calendar; without it they stay.
            shoppers: how many a made-up shop has.
            seed: everything in a made-up shop follows from it.

        Returns:
            What was decided about the source's rows: a phrase and the number of rows it is true of.
        """
        made_up = {} if self.shoppers is None else {"shoppers": shoppers or self.shoppers, "seed": seed}
        write = import_module(self.module).write_export
        return write(folder=folder, shift_to=shift_to, progress=progress, **made_up)

    def open_groups(
        self, *, shift_to: date | None = None, shoppers: int | None = None, seed: int = 0
    ) -> Sequence[StartedGroup]:
        """Groups that are open when the sample's history ends, of which no export tells: they are begun as shoppers
        begin them once it is loaded. The arguments are those of :meth:`write_export`."""
        if not self.has_open_groups:
            return []
        return import_module(self.module).open_groups(shift_to=shift_to, shoppers=shoppers or self.shoppers, seed=seed)


PRESETS: Mapping[str, Preset] = {
    "complete-journey": Preset(
        shop_name="The Complete Journey",
        time_zone="America/New_York",
        currency="USD",
        module="recommender.presets.complete_journey.export",
        last_order_id="41453083334",
    ),
    "platform": Preset(
        shop_name="Alles Markt",
        time_zone="UTC",
        currency="EUR",
        module="recommender.presets.platform.shop",
        last_order_id="A0000000",
        title=_("Platform"),
        files=("sellers",),
        seller_floor_percent=Decimal("0.5"),
        shoppers=1_000,
    ),
    "appliances": Preset(
        shop_name="Aurel & Bonni",
        time_zone="UTC",
        currency="EUR",
        module="recommender.presets.appliances.shop",
        last_order_id="A0000000",
        title=_("Smart appliances"),
        files=("devices", "device_parts"),
        shoppers=1_000,
    ),
    "fresh-food": Preset(
        shop_name="Morgenmarkt",
        time_zone="UTC",
        currency="EUR",
        module="recommender.presets.fresh_food.shop",
        last_order_id="A0000000",
        title=_("Fresh food"),
        files=("batches",),
        shoppers=1_000,
    ),
    "home": Preset(
        shop_name="Haus & Heim",
        time_zone="UTC",
        currency="EUR",
        module="recommender.presets.home.shop",
        last_order_id="A0000000",
        title=_("Home improvement"),
        files=("project_stages",),
        shoppers=1_000,
    ),
    "group-buying": Preset(
        shop_name="Together Market",
        time_zone="UTC",
        currency="CNY",
        module="recommender.presets.group_buying.shop",
        last_order_id="A0000000",
        title=_("Group buying"),
        files=("groups", "group_members"),
        shoppers=1_000,
        has_open_groups=True,
    ),
    "sale-events": Preset(
        shop_name="Everything Twice a Year",
        time_zone="UTC",
        currency="EUR",
        module="recommender.presets.sale_events.shop",
        last_order_id="A0000000",
        title=_("Big sale events"),
        sale_event=SampleSaleEvent(
            name="11.11", campaign_id="live", warm_up=timedelta(days=3), budget_a_shopper=Decimal(5)
        ),
        shoppers=1_000,
    ),
}
