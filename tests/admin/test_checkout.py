"""Codes, reservations and groups at the staff desk."""

import pytest
import redis
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from recommender.models import Code, CodeBatch, Coupon, CouponCounter, Job, Reservation
from recommender.services.checkout.settling import confirm
from recommender.tasks import run_job
from recommender.wording import recall
from tests.services.checkout.shop import NOW, hold, make_coupon, make_shop

pytestmark = pytest.mark.django_db

ADD = "admin:recommender_codebatch_add"


@pytest.fixture
def coupon() -> Coupon:
    make_shop()
    return make_coupon(total_limit=1_500, budget=30)


def test_codes_are_made_by_a_job_and_exported(coupon: Coupon, admin_client: Client, broker: redis.Redis) -> None:
    form = {"coupon": coupon.pk, "count": "3", "prefix": "Tea", "length": "12"}
    assert admin_client.post(reverse(ADD), form).status_code == 302
    batch, job = CodeBatch.objects.get(), Job.objects.get()
    assert (batch.job, batch.created_by.username, job.arguments) == (job, "admin", {"batch": batch.pk})  # type: ignore[union-attr]
    export = reverse("admin:recommender_codebatch_export", args=[batch.pk])
    assert admin_client.get(export).status_code == 302, "not all are made"
    run_job(job.pk)
    page = admin_client.get(reverse("admin:recommender_codebatch_change", args=[batch.pk]))
    assert export in page.content.decode()
    file = admin_client.get(export)
    assert file.headers["Content-Type"] == "text/csv; charset=utf-8"
    lines = b"".join(file).decode().splitlines()  # type: ignore[arg-type]
    assert [line.split(",")[0].replace("TEA-", "TEA").replace("-", "") for line in lines[1:]] == list(
        Code.objects.order_by("pk").values_list("code", flat=True)
    )
    assert recall(LogEntry.objects.latest("pk").change_message) == "The codes were exported."


@pytest.mark.parametrize(("count", "length"), [("0", "12"), ("10000001", "12"), ("1", "9")])
def test_a_batch_that_cannot_be(count: str, length: str, coupon: Coupon, admin_client: Client) -> None:
    answered = admin_client.post(reverse(ADD), {"coupon": coupon.pk, "count": count, "length": length})
    assert answered.status_code == 200
    assert not CodeBatch.objects.exists()
    assert not Job.objects.exists()


def test_making_goes_on_after_it_was_cancelled(coupon: Coupon, admin_client: Client, broker: redis.Redis) -> None:
    admin_client.post(reverse(ADD), {"coupon": coupon.pk, "count": "3", "length": "12"})
    batch = CodeBatch.objects.get()
    go_on = reverse("admin:recommender_codebatch_go_on", args=[batch.pk])
    page = reverse("admin:recommender_codebatch_change", args=[batch.pk])
    assert go_on not in admin_client.get(page).content.decode()
    admin_client.post(reverse("admin:recommender_job_cancel", args=[batch.job_id]))
    assert go_on in admin_client.get(page).content.decode()
    assert admin_client.post(go_on).status_code == 302
    batch.refresh_from_db()
    assert (Job.objects.count(), batch.job.state) == (2, Job.State.QUEUED)  # type: ignore[union-attr]
    run_job(batch.job_id)  # type: ignore[arg-type]
    assert Code.objects.count() == 3


def test_the_page_of_a_coupon_says_how_far_it_is_used(coupon: Coupon, admin_client: Client) -> None:
    page = reverse("admin:recommender_coupon_change", args=[coupon.pk])

    def shown() -> tuple[bool, bool]:
        text = admin_client.get(page).content.decode()
        return "2 / 1,500" in text, "4.00 USD / 30.00 USD" in text

    assert shown() == (False, False)
    hold()
    confirm(reservation_id=hold().reservation_id, order_id="o", at=NOW)
    assert shown() == (True, True)
    CouponCounter.objects.all().delete()
    assert shown() == (True, True), "counted where there is no counter"


def test_a_reservation_that_is_over_is_shown_so(coupon: Coupon, admin_client: Client) -> None:
    held = hold()
    for page in ("changelist", "change"):
        arguments = [] if page == "changelist" else [held.pk]
        text = admin_client.get(reverse(f"admin:recommender_reservation_{page}", args=arguments)).content.decode()
        assert "expired" in text
    held.refresh_from_db()
    assert held.state == Reservation.State.RESERVED, "looking changes nothing"
