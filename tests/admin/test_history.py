"""Who changed what, from what to what."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group
from django.db import connection
from django.db.models import Model
from django.forms import MultiWidget
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import translation
from django_celery_beat.models import PeriodicTask

from recommender.admin.history import Change, HistoryMixin, Step, describe_entry
from recommender.models import ApiKey, Campaign, CampaignCoupon, Coupon, CouponTarget, Product, Run, Shop, User
from recommender.services.access import create_api_key
from tests.services.small_shop import START, add_run


def page(row: Model, name: str = "change") -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{name}", args=[row.pk])


def form_of(client: Client, row: Model, **changes: Any) -> dict[str, Any]:
    """What the browser would send from a row's page, with some fields changed."""
    context = client.get(page(row)).context
    forms = [context["adminform"].form]
    for inline in context["inline_admin_formsets"]:
        forms += [inline.formset.management_form, *inline.formset.initial_forms]
    sent = {}
    for form in forms:
        for bound in form:
            value = bound.value()
            widget = bound.field.widget
            if isinstance(widget, MultiWidget):
                names = [bound.html_name, *([bound.html_initial_name] if bound.field.show_hidden_initial else [])]
                parts = widget.decompress(value)
                sent |= {f"{name}_{n}": part for name in names for n, part in enumerate(parts) if part is not None}
            elif value is not None and value is not False:
                sent[bound.html_name] = value
    return {**sent, **changes}


def steps_of(client: Client, row: Model) -> list[list[Step]]:
    """The history that a row's page leads to."""
    assert page(row, "history") in client.get(page(row)).content.decode()
    return [steps for _entry, steps in client.get(page(row, "history")).context["entries"]]


def test_every_page_keeps_a_history() -> None:
    assert [model for model, page in admin.site._registry.items() if not isinstance(page, HistoryMixin)] == []


def test_a_form_tells_each_field_from_what_to_what(admin_client: Client) -> None:
    coupon = Coupon.objects.create(
        coupon_id="c1", title="Tea", discount_type="percent", discount_value="5.500", ends_at=START
    )
    sent = form_of(
        admin_client,
        coupon,
        title="Green tea",
        discount_type="amount",
        discount_value="7",
        ends_at_0="2024-04-01",
        stackable="on",
        total_limit="100",
    )
    assert admin_client.post(page(coupon), sent).status_code == 302
    expected = (
        Change("Title", "Tea", "Green tea"),
        Change("Discount type", "percent off", "amount off"),
        Change("Discount value", "5.5", "7"),
        Change("Ends", "March 1, 2024, midnight", "April 1, 2024, midnight"),
        Change("Total limit", "–", "100"),
        Change("Stackable", "no", "yes"),
    )
    assert steps_of(admin_client, coupon) == [[Step("Changed.", expected)]]
    shown = admin_client.get(page(coupon, "history")).content.decode()
    assert "<del>percent off</del> → <ins>amount off</ins>" in shown
    assert "admin" in shown


def test_an_inline_tells_its_rows(admin_client: Client) -> None:
    coupon = Coupon.objects.create(coupon_id="c1")
    tea, milk = (Product.objects.create(product_id=name) for name in ("tea", "milk"))
    for name in ("Old", "Gone"):
        CouponTarget.objects.create(coupon=coupon, brand=name)
    sent = form_of(
        admin_client,
        coupon,
        **{
            "targets-TOTAL_FORMS": "3",
            "targets-0-brand": "",
            "targets-0-product": tea.pk,
            "targets-1-DELETE": "on",
            "targets-2-coupon": coupon.pk,
            "targets-2-product": milk.pk,
        },
    )
    assert admin_client.post(page(coupon), sent).status_code == 302
    assert set(coupon.targets.values_list("product__product_id", flat=True)) == {"tea", "milk"}
    assert steps_of(admin_client, coupon) == [
        [
            Step("Added: coupon target “milk”."),
            Step("Changed: coupon target “tea”.", (Change("Product", "–", "tea"), Change("Brand", "Old", "–"))),
            Step("Deleted: coupon target “Gone”."),
        ]
    ]


def test_a_campaigns_coupon_is_another_one_by_name(admin_client: Client) -> None:
    campaign = Campaign.objects.create(campaign_id="spring", starts_at=START, ends_at=START + timedelta(days=1))
    old, new = (Coupon.objects.create(coupon_id=name) for name in ("c1", "c2"))
    CampaignCoupon.objects.create(campaign=campaign, coupon=old)
    sent = form_of(admin_client, campaign, **{"campaign_coupons-0-coupon": new.pk})
    assert admin_client.post(page(campaign), sent).status_code == 302
    assert steps_of(admin_client, campaign) == [
        [Step("Changed: coupon of a campaign “c2”.", (Change("Coupon", "c1", "c2"),))]
    ]


def test_an_action_tells_what_came_of_it(admin_client: Client) -> None:
    campaign = Campaign.objects.create(campaign_id="spring", starts_at=START, ends_at=START + timedelta(days=1))
    run = add_run(campaign, state=Run.State.DRAFTED)
    admin_client.post(page(run, "approve"))
    admin_client.post(page(run, "approve"))  # refused, and not told
    assert steps_of(admin_client, run) == [[Step(f"Run {run.pk} is approved and can be published.")]]


def test_the_shops_settings_tell_who_changed_them(admin_client: Client) -> None:
    shop = Shop.current()
    sent = form_of(admin_client, shop, currency="EUR", may_approve_own_runs="on")
    assert admin_client.post(page(shop), sent).status_code == 302
    expected = (Change("Currency", "USD", "EUR"), Change("Whoever started a run may approve it", "no", "yes"))
    assert steps_of(admin_client, shop) == [[Step("Changed.", expected)]]


def test_staff_and_their_groups(admin_client: Client) -> None:
    user = User.objects.create_user("ann", password="before it was changed")
    user.groups.add(Group.objects.get(name="editor"))
    sent = form_of(admin_client, user, is_staff="on", groups=[Group.objects.get(name="approver").pk])
    assert admin_client.post(page(user), sent).status_code == 302
    expected = [
        Change("Groups", "editor", "approver", is_list=True),
        Change("Staff status", "no", "yes"),
    ]
    (steps,) = steps_of(admin_client, user)
    assert [step.text for step in steps] == ["Changed."]
    assert sorted(steps[0].changes, key=lambda change: change.field) == expected


def test_no_secret_is_written_down(admin_client: Client) -> None:
    user = User.objects.create_user("ann", password="before it was changed")
    old = user.password
    new = {"password1": "zebra-crossing-9", "password2": "zebra-crossing-9", "usable_password": "true"}
    answer = admin_client.post(reverse("admin:auth_user_password_change", args=[user.pk]), new)
    assert answer.status_code == 302
    user.refresh_from_db()
    assert user.check_password("zebra-crossing-9")
    assert steps_of(admin_client, user) == [[Step("Changed.", (Change("Password", is_secret=True),))]]
    admin_client.post(reverse("admin:recommender_apikey_add"), {"name": "till", "scopes": ["checkout"]})
    api_key = ApiKey.objects.get()
    admin_client.post(page(api_key, "revoke"))
    assert [[step.text for step in steps] for steps in steps_of(admin_client, api_key)] == [
        ["Added."],
        [f"The key {api_key} is revoked."],
    ]
    written = json.dumps(list(LogEntry.objects.values_list("change_message", flat=True)))
    for secret in (old, user.password, "before it was changed", "zebra-crossing-9", api_key.digest):
        assert secret not in written


def test_the_schedule_tells_what_was_switched_off(admin_client: Client) -> None:
    task = PeriodicTask.objects.get(name="Retrain every night")
    chosen = {"action": "disable_tasks", "_selected_action": task.pk}
    admin_client.post(reverse("admin:django_celery_beat_periodictask_changelist"), chosen)
    task.refresh_from_db()
    assert not task.enabled
    assert steps_of(admin_client, task) == [[Step("Switched off.")]]


def test_a_history_is_told_in_the_readers_language(admin_client: Client) -> None:
    coupon = Coupon.objects.create(coupon_id="c1", ends_at=START)
    with translation.override("zh-hans"):
        sent = form_of(admin_client, coupon, stackable="on", ends_at_0="2024-04-01")
        assert admin_client.post(page(coupon), sent).status_code == 302
    change = json.loads(LogEntry.objects.get().change_message)[0]["changed"]
    assert change["values"] == [
        {"name": "ends_at", "label": "Ends", "old": "2024-03-01T00:00:00+00:00", "new": "2024-04-01T00:00:00+00:00"},
        {"name": "stackable", "label": "Stackable", "old": False, "new": True},
    ]
    with translation.override("zh-hans"):
        (step,) = describe_entry(LogEntry.objects.get())
    assert step.changes[0].new == "2024年4月1日 00:00"


@pytest.mark.parametrize(
    ("message", "steps"),
    [
        ("Done by hand.", [Step("Done by hand.")]),
        ("[not JSON", [Step("[not JSON")]),
        ("[]", [Step("Saved without a change.")]),
        ('[{"changed": {"fields": ["Title"]}}]', [Step("Changed.", (Change("Title", is_secret=True),))]),
        (
            '[{"changed": {"fields": ["Shade"], "values": [{"name": "shade", "label": "Shade", "old": 1, "new": 2}]}}]',
            [Step("Changed.", (Change("Shade", "1", "2"),))],
        ),
    ],
)
def test_what_was_written_otherwise_is_told_as_far_as_it_goes(
    message: str, steps: list[Step], admin_user: User
) -> None:
    coupon = Coupon.objects.create(coupon_id="c1")
    LogEntry.objects.log_actions(admin_user.pk, [coupon], CHANGE, message, single_object=True)
    assert describe_entry(LogEntry.objects.get()) == steps


def test_a_long_history_takes_no_more_queries_than_a_short_one(admin_client: Client, admin_user: User) -> None:
    coupon = Coupon.objects.create(coupon_id="c1")
    message = '[{"changed": {"fields": [], "values": [{"name": "title", "label": "Title", "old": "a", "new": "b"}]}}]'

    def count_queries() -> int:
        LogEntry.objects.log_actions(admin_user.pk, [coupon], CHANGE, message, single_object=True)
        with CaptureQueriesContext(connection) as queries:
            assert admin_client.get(page(coupon, "history")).status_code == 200
        return len(queries)

    count_queries()  # warms the cache of content types
    counts = [count_queries() for _ in range(5)]
    assert counts == counts[:1] * 5


def test_all_changes_stand_on_one_page_for_those_who_may_see_the_rows(
    admin_client: Client, client_with: Callable[..., Client]
) -> None:
    coupon = Coupon.objects.create(coupon_id="c1")
    admin_client.post(page(coupon, "delete"), {"post": "yes"})
    api_key, _key = create_api_key(name="till")
    admin_client.post(page(api_key, "revoke"))
    address = reverse("admin:admin_logentry_changelist")

    def seen(client: Client) -> list[str]:
        return [entry.object_repr for entry in client.get(address).context["cl"].result_list]

    assert seen(admin_client) == [str(api_key), "c1"]
    assert seen(client_with("view_coupon", "admin.view_logentry")) == ["c1"]
    hidden = LogEntry.objects.get(object_repr=str(api_key))
    client = Client()
    client.force_login(User.objects.latest("pk"))
    assert client.get(page(hidden)).status_code == 302, "as if it were not there"


def test_staff_stay_on_record(admin_client: Client) -> None:
    user = User.objects.create_user("ann")
    assert admin_client.post(page(user, "delete"), {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": user.pk, "post": "yes"}
    admin_client.post(reverse("admin:recommender_user_changelist"), chosen)
    assert User.objects.filter(pk=user.pk).exists()
