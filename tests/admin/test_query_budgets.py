"""How many queries each page of the desk takes. The table is exact: a query more or less is a change to look at."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from recommender import models
from recommender.admin.campaigns import CampaignCouponInline
from recommender.models import Run
from recommender.services.reporting import SEGMENTS_TOLD_APART
from tests.admin.rows import add_rows
from tests.admin.test_pages import MACHINE_WRITTEN
from tests.admin.test_roles import ADDRESSES, walk

FEW, MANY = 5, 50
FORMS_A_PAGE = CampaignCouponInline.per_page

#: By page: the list of a model; the page of its first row, to which all the other rows of the test belong that can; and
#: by their names the pages of the desk's own, and those of actions that ask or show something.
BUDGETS: dict[str, int] = {
    "admin_logentry list": 5,
    "admin_logentry page": 6,
    "auth_group add": 4,
    "auth_group list": 5,
    "auth_group page": 6,
    "django_celery_beat_clockedschedule add": 3,
    "django_celery_beat_clockedschedule list": 6,
    "django_celery_beat_clockedschedule page": 5,
    "django_celery_beat_crontabschedule add": 3,
    "django_celery_beat_crontabschedule list": 6,
    "django_celery_beat_crontabschedule page": 6,
    "django_celery_beat_intervalschedule add": 3,
    "django_celery_beat_intervalschedule list": 6,
    "django_celery_beat_intervalschedule page": 7,
    "django_celery_beat_periodictask add": 8,
    "django_celery_beat_periodictask list": 5,
    "django_celery_beat_periodictask page": 9,
    "django_celery_beat_solarschedule add": 3,
    "django_celery_beat_solarschedule list": 6,
    "django_celery_beat_solarschedule page": 5,
    "home": 31,
    "recommender_apikey add": 3,
    "recommender_apikey list": 5,
    "recommender_apikey page": 6,
    "recommender_apikey_revoke": 4,
    "recommender_apikey_rotate": 4,
    "recommender_campaign add": 5,
    "recommender_campaign list": 6,
    "recommender_campaign page": 52,
    "recommender_campaign_calendar": 9,
    "recommender_campaign_change_export": 7,
    "recommender_campaign_duplicate": 8,
    "recommender_campaign_recommend": 12,
    "recommender_campaign_results": 84,
    "recommender_campaign_results_export": 80,
    "recommender_campaign_results_list": 9,
    "recommender_campaign_roll_back": 6,
    "recommender_campaigncoupon add": 3,
    "recommender_campaigncoupon list": 5,
    "recommender_campaigncoupon page": 7,
    "recommender_campaignsegment add": 3,
    "recommender_campaignsegment list": 5,
    "recommender_campaignsegment page": 7,
    "recommender_campaignshopper add": 3,
    "recommender_campaignshopper list": 5,
    "recommender_campaignshopper page": 7,
    "recommender_category add": 3,
    "recommender_category list": 5,
    "recommender_category page": 4,
    "recommender_codebatch add": 3,
    "recommender_codebatch list": 5,
    "recommender_codebatch page": 12,
    "recommender_codebatch_export": 7,
    "recommender_coupon add": 6,
    "recommender_coupon list": 5,
    "recommender_coupon page": 34,
    "recommender_coupontarget add": 3,
    "recommender_coupontarget list": 5,
    "recommender_coupontarget page": 7,
    "recommender_evaluation list": 6,
    "recommender_evaluation page": 5,
    "recommender_erasure list": 5,
    "recommender_erasure page": 5,
    "recommender_batch add": 3,
    "recommender_batch list": 5,
    "recommender_batch page": 5,
    "recommender_device list": 5,
    "recommender_device page": 6,
    "recommender_devicepart add": 3,
    "recommender_devicepart list": 5,
    "recommender_devicepart page": 8,
    "recommender_event list": 5,
    "recommender_event page": 8,
    "recommender_groupbuy list": 5,
    "recommender_groupbuy_outlook": 10,
    "recommender_groupbuy page": 10,
    "recommender_experiment add": 3,
    "recommender_experiment list": 5,
    "recommender_experiment page": 10,
    "recommender_job list": 5,
    "recommender_job page": 11,
    "recommender_job_cancel": 5,
    "recommender_modelversion list": 7,
    "recommender_modelversion page": 20,
    "recommender_modelversion_compare": 11,
    "recommender_modelversion_explain_champion": 15,
    "recommender_modelversion_promote": 9,
    "recommender_modelversion_train": 5,
    "recommender_order list": 5,
    "recommender_order page": 7,
    "recommender_orderline list": 5,
    "recommender_orderline page": 7,
    "recommender_product add": 3,
    "recommender_product list": 5,
    "recommender_product page": 5,
    "recommender_promotion list": 5,
    "recommender_promotion page": 7,
    "recommender_projectstage add": 3,
    "recommender_projectstage list": 5,
    "recommender_projectstage page": 6,
    "recommender_publication list": 5,
    "recommender_publication page": 8,
    "recommender_recommendation list": 6,
    "recommender_recommendation page": 8,
    "recommender_recommendation_correct": 5,
    "recommender_redemption list": 5,
    "recommender_redemption page": 8,
    "recommender_reservation list": 5,
    "recommender_reservation page": 7,
    "recommender_run list": 5,
    "recommender_run page": 38,
    "recommender_run_budget": 7,
    "recommender_run_correct": 9,
    "recommender_run_publish": 25,
    "recommender_run_publish_later": 25,
    "recommender_run_reject": 7,
    "recommender_run_review": 4,
    "recommender_run_sample": 9,
    "recommender_run_shopper": 27,
    "recommender_runcomment list": 5,
    "recommender_runcomment page": 7,
    "recommender_runcorrection list": 5,
    "recommender_runcorrection page": 9,
    "recommender_runcorrectionshopper list": 5,
    "recommender_runcorrectionshopper page": 7,
    "recommender_runcoupon list": 5,
    "recommender_runcoupon page": 7,
    "recommender_runinput list": 5,
    "recommender_runinput page": 7,
    "recommender_runshard list": 5,
    "recommender_runshard page": 6,
    "recommender_searchtrial list": 6,
    "recommender_searchtrial page": 6,
    "recommender_searchtrial_search": 5,
    "recommender_saleevent add": 3,
    "recommender_saleevent list": 5,
    "recommender_saleevent page": 10,
    "recommender_saleevent_report": 13,
    "recommender_saleevent_report_export": 12,
    "recommender_segment_reckon_tiers": 3,
    "recommender_segment add": 3,
    "recommender_segment list": 7,
    "recommender_segment page": 6,
    "recommender_segmentcondition add": 3,
    "recommender_segmentcondition list": 5,
    "recommender_segmentcondition page": 5,
    "recommender_seller add": 3,
    "recommender_seller list": 5,
    "recommender_seller page": 4,
    "recommender_shop page": 5,
    "recommender_shopper add": 3,
    "recommender_shopper list": 5,
    "recommender_shopper page": 5,
    "recommender_shopper_erase": 4,
    "recommender_snapshot list": 5,
    "recommender_snapshot page": 4,
    "recommender_tokensigner add": 3,
    "recommender_tokensigner list": 5,
    "recommender_tokensigner page": 6,
    "recommender_tokensigner_revoke": 4,
    "recommender_upload add": 3,
    "recommender_upload list": 5,
    "recommender_upload page": 8,
    "recommender_upload_check_again": 4,
    "recommender_upload_delete_files": 4,
    "recommender_user add": 3,
    "recommender_user list": 6,
    "recommender_user page": 8,
    "recommender_webhookdelivery list": 6,
    "recommender_webhookdelivery page": 6,
    "recommender_webhookdelivery_redeliver": 5,
    "recommender_webhookendpoint add": 3,
    "recommender_webhookendpoint list": 5,
    "recommender_webhookendpoint page": 5,
    "recommender_webhookendpoint_replace_secret": 4,
}
#: Addresses at which there is no page of rows: a form is sent there, or something is fetched.
NO_PAGES = {
    "auth_user_password_change",
    "recommender_coupon_export",
    "recommender_coupon_import",
    "recommender_coupon_process_import",
    "recommender_job_progress",
    "recommender_modelversion_backtest_figure",
    "recommender_modelversion_drawing",
    "recommender_modelversion_figure",
    "recommender_product_export",
    "recommender_product_import",
    "recommender_product_process_import",
    "recommender_run_comment",
    "recommender_run_find_shopper",
    "recommender_run_undo_correction",
    "recommender_segment_export",
    "recommender_segment_import",
    "recommender_segment_preview",
    "recommender_segment_preview_of",
    "recommender_segment_process_import",
    "recommender_upload_progress",
    "recommender_upload_put_aside",
}


@pytest.fixture
def first(db: None) -> Run:
    """The run of the first rows, under review; what :func:`grow` adds belongs to it, its campaign and its coupon."""
    add_rows(1)
    run = Run.objects.get()
    for publication in models.Publication.objects.order_by("-pk"):
        publication.delete()
    Run.objects.update(state=Run.State.APPROVED, estimated_at=timezone.now())
    models.Campaign.objects.update(ends_at=timezone.now() + timedelta(days=30))
    shop = models.Shop.current()
    shop.champion = run.model_version
    shop.save()
    # Forms in a table look up their choices one by one, a page of them at most: here it is full from the beginning.
    campaign, coupon = models.Campaign.objects.get(), models.Coupon.objects.get()
    for number in range(FORMS_A_PAGE):
        product = models.Product.objects.create(product_id=f"full {number}")
        models.CouponTarget.objects.create(coupon=coupon, product=product)
        other = models.Coupon.objects.create(coupon_id=f"full {number}")
        models.CampaignCoupon.objects.create(campaign=campaign, coupon=other)
    for number in range(SEGMENTS_TOLD_APART):
        models.Segment.objects.create(name=f"0 {number}")
    return run


def grow(run: Run, numbers: range) -> None:
    """More rows of every model, which also belong to the first ones."""
    for number in numbers:
        add_rows(number)
        newest: Any = {
            name: getattr(models, name).objects.latest("pk") for name in ("Shopper", "Coupon", "Product", "Order")
        }
        shopper, coupon, product = newest["Shopper"], newest["Coupon"], newest["Product"]
        campaign, user = run.campaign, models.User.objects.latest("pk")
        models.Recommendation.objects.create(run=run, shopper=shopper, coupon=coupon, rank=1, score=0.5)
        first_shopper = models.Shopper.objects.earliest("pk")
        models.Recommendation.objects.create(run=run, shopper=first_shopper, coupon=coupon, rank=number, score=0.4)
        models.RunCoupon.objects.create(run=run, coupon=coupon, shopper_count=1, expected_uses=0.5)
        models.RunCorrection.objects.create(run=run, kind="exclude", coupon=coupon, reason="old", made_by=user)
        models.RunComment.objects.create(run=run, text="fine", written_by=user)
        models.RunShard.objects.create(run=run, number=number, shopper_ids=[shopper.shopper_id])
        models.CampaignCoupon.objects.create(campaign=campaign, coupon=coupon)
        models.CampaignShopper.objects.create(campaign=campaign, shopper=shopper)
        moment = timezone.now() - timedelta(days=number)
        order = models.Order.objects.create(order_id=f"own-{number}", shopper=first_shopper, ordered_at=moment)
        models.OrderLine.objects.create(order=order, position=0, product=product, quantity=1, amount=2, coupon=coupon)
        models.OrderLine.objects.create(
            order=models.Order.objects.earliest("pk"), position=number, product=product, quantity=1, amount=2
        )
        for who in (shopper, first_shopper):
            models.Redemption.objects.create(
                shopper=who, coupon=coupon, campaign=campaign, order=order, redeemed_at=moment
            )
            models.Event.objects.create(
                event_key=f"{who.pk} {number}", shopper=who, kind="click", occurred_at=moment, coupon=coupon,
                campaign=campaign,
            )  # fmt: skip
        models.CouponTarget.objects.create(coupon=models.Coupon.objects.earliest("pk"), product=product)
        version = run.model_version
        models.RunInput.objects.create(
            run=run, name=f"input {number}", index=0.5, usual=0.2, edges=[1.5], learned_counts=[3, 1, 0],
            counts=[0, 4, 0],
        )  # fmt: skip
        correction = models.RunCorrection.objects.exclude(segment_name="").earliest("pk")
        models.RunCorrectionShopper.objects.create(correction=correction, shopper=shopper)
        models.ReservationCoupon.objects.create(
            reservation=models.Reservation.objects.earliest("pk"), position=number, coupon=coupon, campaign=campaign,
            code=models.Code.objects.latest("pk"), redemption=models.Redemption.objects.latest("pk"),
            amount=1, lines=[], counted_at=moment, held_uses=0, held_amount=0,
        )  # fmt: skip
        models.GroupBuyMember.objects.create(
            group=models.GroupBuy.objects.earliest("pk"), shopper=shopper, joined_at=moment, held_uses=0
        )
        batch = models.CodeBatch.objects.earliest("pk")
        models.Code.objects.create(code=f"US3D{number}", batch=batch, uses=1)
        models.WebhookDelivery.objects.create(
            endpoint=models.WebhookEndpoint.objects.earliest("pk"), event=models.WebhookEvent.REDEEMED,
            happened_at=moment, next_attempt_at=moment,
        )  # fmt: skip
        models.Evaluation.objects.create(model_version=version, metric=f"metric {number}", value=0.8)
        models.Promotion.objects.create(model_version=version, previous=version, promoted_by=user, reason="better")


def list_pages(run: Run) -> dict[str, str]:
    """Where each page is that somebody can look at, by its name in BUDGETS. What an address is of, it finds itself."""
    pages = {"home": reverse("admin:index")}
    for model in admin.site._registry:
        name, key = f"{model._meta.app_label}_{model._meta.model_name}", model._default_manager.earliest("pk").pk
        pages[f"{name} list"] = reverse(f"admin:{name}_changelist")
        pages[f"{name} page"] = reverse(f"admin:{name}_change", args=[key])
        if model not in (*MACHINE_WRITTEN, models.Shop):
            pages[f"{name} add"] = reverse(f"admin:{name}_add")
    for action, model, kind in walk():
        name = f"{model._meta.app_label}_{action.replace('.', '_')}"
        if kind != "chosen":
            key = model._default_manager.earliest("pk").pk
            if name == "recommender_campaign_roll_back":  # nothing of the first one is live
                key = models.Publication.objects.live().earliest("pk").campaign_id
            pages[name] = reverse(f"admin:{name}", args=[key] if kind == "row" else [])
    shopper = models.Shopper.objects.earliest("pk")
    of_campaign, of_run = [run.campaign_id], [run.pk]
    keys = {
        "recommender_campaign_change_export": of_campaign,
        "recommender_campaign_results_export": of_campaign,
        "recommender_recommendation_correct": ["exclude"],
        "recommender_run_budget": of_run,
        "recommender_run_review": ["reject"],
        "recommender_run_sample": of_run,
        "recommender_run_shopper": [*of_run, shopper.pk],
        "recommender_saleevent_report_export": [models.SaleEvent.objects.earliest("pk").pk],
    }
    queries = {
        "recommender_recommendation_correct": {"row": list(run.recommendations.values_list("pk", flat=True))},
        "recommender_run_review": {"run": run.pk},
    }
    for name in set(ADDRESSES) - NO_PAGES:
        pages[name] = reverse(f"admin:{name}", args=keys.get(name, []), query=queries.get(name))
    return pages


def count_queries(client: Client, run: Run) -> dict[str, int]:
    """Of each page that is there; what only leads on to another is none."""
    counts = {}
    for name, address in list_pages(run).items():
        with CaptureQueriesContext(connection) as queries:
            answer = client.get(address)
            for _part in getattr(answer, "streaming_content", ()):
                pass
        assert answer.status_code in (200, 302), (name, answer.status_code)
        if answer.status_code == 200:
            counts[name] = len(queries)
    return counts


def test_every_page_keeps_its_budget_however_many_rows_there_are(first: Run, admin_client: Client) -> None:
    """A page that is not in the table fails, and so does one that takes more queries for more rows."""
    grow(first, range(2, FEW + 1))
    count_queries(admin_client, first)  # the caches of content types and the like are filled
    few = count_queries(admin_client, first)
    assert few == BUDGETS
    grow(first, range(FEW + 1, MANY + 1))
    assert count_queries(admin_client, first) == few
