"""The sidebar, in the order of the work."""

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

#: Title, icon, and the model whose list it is, with ``:`` and the name of the page where it is another page of it.
Page = tuple[str, str, str]

#: What else somebody needs to see a page that is not for everybody who sees the model.
ALSO_NEEDED = {"recommender.campaign:results_list": "recommender.view_redemption"}


def list_pages(request: HttpRequest) -> list[dict[str, object]]:
    """The groups of pages that the reader may see."""
    home = {"title": _("Home"), "icon": "home", "link": reverse("admin:index")}
    groups: list[dict[str, object]] = [{"items": [home]}]
    for title, pages in _groups():
        items = [
            {"title": name, "icon": icon, "link": _address(page)}
            for name, icon, page in pages
            if _may_view(request, page)
        ]
        if items:
            groups.append({"title": title, "separator": True, "items": items})
    _mark_active(request, [item for group in groups for item in group["items"]])  # type: ignore[attr-defined]
    return groups


def _mark_active(request: HttpRequest, items: list[dict[str, object]]) -> None:
    """Mark the page that the reader is on: that of a list, unless a page below it has a place of its own."""
    links = [str(item["link"]) for item in items]
    around = [link for link in links if request.path.startswith(link)]
    for item, link in zip(items, links, strict=True):
        item["active"] = link == max(around, key=len, default=None) and (item is not items[0] or link == request.path)


def _address(page: str) -> str:
    model, _separator, name = page.partition(":")
    return reverse(f"admin:{model.replace('.', '_')}_{name or 'changelist'}")


def _may_view(request: HttpRequest, page: str) -> bool:
    if page in ALSO_NEEDED and not request.user.has_perm(ALSO_NEEDED[page]):
        return False
    app, name = page.partition(":")[0].split(".")
    return request.user.has_perm(f"{app}.view_{name}") or request.user.has_perm(f"{app}.change_{name}")


def _groups() -> list[tuple[str, list[Page]]]:
    return [
        (
            _("Data"),
            [
                (_("Bring data in"), "upload_file", "recommender.upload"),
                (_("Shoppers"), "group", "recommender.shopper"),
                (_("Products"), "inventory_2", "recommender.product"),
                (_("Sellers"), "storefront", "recommender.seller"),
                (_("Categories"), "account_tree", "recommender.category"),
                (_("Devices"), "coffee_maker", "recommender.device"),
                (_("Parts of devices"), "settings_input_component", "recommender.devicepart"),
                (_("Batches"), "eco", "recommender.batch"),
                (_("Stages of projects"), "format_paint", "recommender.projectstage"),
                (_("Orders"), "receipt_long", "recommender.order"),
                (_("Events"), "ads_click", "recommender.event"),
                (_("Redemptions"), "redeem", "recommender.redemption"),
            ],
        ),
        (
            _("Coupons and campaigns"),
            [
                (_("Segments"), "diversity_3", "recommender.segment"),
                (_("Coupons"), "confirmation_number", "recommender.coupon"),
                (_("Campaigns"), "campaign", "recommender.campaign"),
                (_("Sale events"), "celebration", "recommender.saleevent"),
                (_("Calendar"), "calendar_month", "recommender.campaign:calendar"),
                (_("Codes"), "qr_code_2", "recommender.codebatch"),
            ],
        ),
        (
            _("Checkout"),
            [
                (_("Reservations"), "shopping_cart_checkout", "recommender.reservation"),
                (_("Group buys"), "group_add", "recommender.groupbuy"),
                (_("Open groups"), "hourglass_bottom", "recommender.groupbuy:outlook"),
            ],
        ),
        (
            _("Compute"),
            [
                (_("Jobs"), "hourglass_top", "recommender.job"),
                (_("Runs"), "play_circle", "recommender.run"),
                (_("Recommendations"), "recommend", "recommender.recommendation"),
                (_("Publications"), "publish", "recommender.publication"),
            ],
        ),
        (
            _("Results"),
            [
                (_("Results of campaigns"), "monitoring", "recommender.campaign:results_list"),
                (_("Experiments"), "science", "recommender.experiment"),
            ],
        ),
        (
            _("Models"),
            [
                (_("Model versions"), "model_training", "recommender.modelversion"),
                (_("Search trials"), "search", "recommender.searchtrial"),
                (_("Promotions"), "trophy", "recommender.promotion"),
                (_("Snapshots"), "photo_camera", "recommender.snapshot"),
            ],
        ),
        (
            _("Settings"),
            [
                (_("Shop"), "storefront", "recommender.shop"),
                (_("Staff"), "badge", "recommender.user"),
                (_("Groups"), "groups", "auth.group"),
                (_("API keys"), "key", "recommender.apikey"),
                (_("Token signers"), "draw", "recommender.tokensigner"),
                (_("Webhooks"), "webhook", "recommender.webhookendpoint"),
                (_("Webhook deliveries"), "outgoing_mail", "recommender.webhookdelivery"),
                (_("Changes"), "history", "admin.logentry"),
                (_("Erasures"), "person_remove", "recommender.erasure"),
                (_("Schedule"), "schedule", "django_celery_beat.periodictask"),
            ],
        ),
    ]
