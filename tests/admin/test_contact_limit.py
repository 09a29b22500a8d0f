"""The settings of the shop that runs keep to."""

import pytest
from django.test import Client
from django.urls import reverse

from recommender.models import Run, Shop
from tests.services.small_shop import add_run, make_shop

FORM = {"name": "Shop", "time_zone": "UTC", "currency": "USD", "contact_most": "", "contact_days": ""}


@pytest.fixture
def page(db: None) -> str:
    return reverse("admin:recommender_shop_change", args=[Shop.current().pk])


def limit_of_shop() -> tuple[int | None, int | None]:
    return Shop.objects.values_list("contact_most", "contact_days").get()


def test_a_limit_of_campaigns_is_set_and_lifted(admin_client: Client, page: str) -> None:
    admin_client.post(page, FORM | {"contact_most": "2", "contact_days": "30"})
    assert limit_of_shop() == (2, 30)
    admin_client.post(page, FORM)
    assert limit_of_shop() == (None, None)


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"contact_most": "2"}, {"contact_days": "Say how many campaigns within how many days, or leave both empty."}),
        ({"contact_days": "9"}, {"contact_most": "Say how many campaigns within how many days, or leave both empty."}),
        (
            {"contact_most": "0", "contact_days": "9"},
            {"contact_most": "Ensure this value is greater than or equal to 1."},
        ),
        (
            {"contact_most": "1", "contact_days": "367"},
            {"contact_days": "Ensure this value is less than or equal to 366."},
        ),
    ],
)
def test_half_a_limit_is_refused(
    admin_client: Client, page: str, answers: dict[str, str], told: dict[str, str]
) -> None:
    answer = admin_client.post(page, FORM | answers)
    assert answer.context["adminform"].form.errors == {name: [text] for name, text in told.items()}
    assert limit_of_shop() == (None, None)


def test_the_page_of_a_run_says_how_many_were_left_out(admin_client: Client) -> None:
    run = add_run(make_shop(), state=Run.State.DRAFTED)
    address = reverse("admin:recommender_run_change", args=[run.pk])
    assert "nobody: the shop had no limit of campaigns for a shopper" in admin_client.get(address).content.decode()
    Run.objects.update(contact_limit={"most": 2, "days": 30, "left_out": 1234})
    shown = admin_client.get(address).content.decode()
    assert "1,234 shoppers, at most 2 campaigns within 30 days" in shown
