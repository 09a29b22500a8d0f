"""Clear pages for what was not done: the session has ended, the page is outdated, the role does not allow it."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from recommender.models import Coupon, User

SIGNED_OUT = (
    "You were signed out meanwhile. What you had saved is kept; what you sent just now was not saved. "
    "Sign in, and send it once more."
)


@pytest.fixture
def coupon(db: None) -> Coupon:
    return Coupon.objects.create(coupon_id="c1", title="Tea")


def test_a_form_that_is_sent_after_the_session_ended(admin_client: Client, coupon: Coupon) -> None:
    page = reverse("admin:recommender_coupon_change", args=[coupon.pk])
    admin_client.get(page)
    admin_client.session.flush()
    answer = admin_client.post(page, {"coupon_id": "c1", "title": "Coffee"}, follow=True)
    assert answer.redirect_chain == [(f"{reverse('admin:login')}?next={page}", 302)]
    assert [str(message) for message in answer.context["messages"]] == [SIGNED_OUT]
    assert Coupon.objects.values_list("title", flat=True).get() == "Tea"

    back = admin_client.post(answer.redirect_chain[0][0], {"username": "admin", "password": "password"}, follow=True)
    assert back.redirect_chain == [(page, 302)]
    assert back.context["original"] == coupon


def test_nobody_else_is_told_so(admin_client: Client, coupon: Coupon) -> None:
    visitor = Client()
    assert not list(visitor.get(reverse("admin:index"), follow=True).context["messages"])
    answer = visitor.post(reverse("admin:login"), {"username": "admin", "password": "wrong"})
    assert not list(answer.context["messages"])


def test_a_page_from_before_signing_in_anew(admin_user: User, coupon: Coupon) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    page = reverse("admin:recommender_coupon_change", args=[coupon.pk])
    answer = client.post(page, {"title": "Coffee"})
    assert answer.status_code == 403
    assert answer.context["title"] == "This page was open for too long"
    assert f'href="{page}"' in answer.content.decode()
    assert Coupon.objects.values_list("title", flat=True).get() == "Tea"


def test_what_a_role_does_not_allow(client_with: Callable[..., Client], coupon: Coupon) -> None:
    answer = client_with("view_coupon").get(reverse("admin:recommender_coupon_add"))
    assert answer.status_code == 403
    assert "Your roles do not allow it, and nothing was changed." in answer.content.decode()
