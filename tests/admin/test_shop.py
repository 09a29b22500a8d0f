"""The kind of shop is chosen among those that there are."""

from collections.abc import Callable

import pytest
from django.test import Client

from recommender.admin.history import Change, Step
from recommender.models import Shop
from tests.admin.test_history import form_of, page, steps_of

pytestmark = pytest.mark.django_db


def test_the_kind_of_shop_is_chosen_and_says_what_files_it_has(admin_client: Client) -> None:
    shop = Shop.current()
    form = admin_client.get(page(shop)).context["adminform"].form
    assert list(form.fields["preset"].choices) == [
        ("", "any other"),
        ("platform", "Platform"),
        ("appliances", "Smart appliances"),
        ("fresh-food", "Fresh food"),
        ("home", "Home improvement"),
        ("group-buying", "Group buying"),
        ("sale-events", "Big sale events"),
    ]
    assert "device_parts" not in admin_client.get(page(shop)).content.decode()

    assert admin_client.post(page(shop), form_of(admin_client, shop, preset="appliances")).status_code == 302

    shop.refresh_from_db()
    assert shop.preset == "appliances"
    assert "devices, device_parts" in admin_client.get(page(shop)).content.decode()
    assert steps_of(admin_client, shop) == [[Step("Changed.", (Change("Kind of shop", "–", "appliances"),))]]


def test_whoever_only_looks_reads_what_the_kind_is_called(client_with: Callable[..., Client]) -> None:
    shop = Shop.current()
    client = client_with("view_shop")
    for preset, language, title in (
        ("", "en", "any other"),
        ("fresh-food", "en", "Fresh food"),
        ("fresh-food", "zh-hans", "生鲜食品"),
    ):
        Shop.objects.update(preset=preset)
        answer = client.get(page(shop), headers={"Accept-Language": language})
        assert title in answer.content.decode()
        assert "preset" not in answer.context["adminform"].form.fields
        assert ">fresh-food<" not in answer.content.decode()

    assert client.post(page(shop), {"preset": "home"}).status_code == 403
    assert Shop.current().preset == "fresh-food"


@pytest.mark.parametrize("name", ["bakery", "complete-journey"])
def test_a_kind_that_there_is_not_is_refused(admin_client: Client, name: str) -> None:
    shop = Shop.current()
    answer = admin_client.post(page(shop), form_of(admin_client, shop, preset=name, name="Other"))
    assert answer.context["adminform"].form.errors == {
        "preset": [f"Select a valid choice. {name} is not one of the available choices."]
    }
    shop.refresh_from_db()
    assert (shop.preset, shop.name) == ("", "Shop")


@pytest.mark.parametrize(
    "wrong",
    ["https://shop.example/groups", "http://shop.example/{group}", "https://x.example/{group}/{group}", "{group}"],
)
def test_the_page_of_a_group_is_an_address_with_the_group_in_it(wrong: str, admin_client: Client) -> None:
    shop = Shop.current()
    answer = admin_client.post(page(shop), form_of(admin_client, shop, group_page=wrong))
    assert list(answer.context["adminform"].form.errors) == ["group_page"]
    good = "https://shop.example/groups/{group}"
    assert admin_client.post(page(shop), form_of(admin_client, shop, group_page=good)).status_code == 302
    shop.refresh_from_db()
    assert shop.group_page == good
