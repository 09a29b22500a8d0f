"""Experiments in the staff desk: prepared, started, looked at, and decided."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from recommender.models import (
    Campaign,
    Coupon,
    Experiment,
    ExperimentArm,
    Product,
    Publication,
    Redemption,
    Run,
    Shopper,
)
from recommender.services.experiments import start_experiment
from recommender.services.summaries import WhatArmsChanged, WouldBring
from tests.services.test_experiment_results import amounts, buy, keys_of
from tests.services.test_experiments import approved_run, arms_of, draft, make_campaign, put_on_show

pytestmark = pytest.mark.django_db

LIST = "admin:recommender_experiment_changelist"


@pytest.fixture
def campaign() -> Campaign:
    now = timezone.now()
    tea, milk = (Coupon.objects.create(coupon_id=name) for name in ("tea", "milk"))
    campaign = make_campaign("spring", tea, milk, starts_at=now - timedelta(days=9), ends_at=now + timedelta(days=9))
    Product.objects.create(product_id="p", cost=1)
    shoppers = Shopper.objects.bulk_create(Shopper(shopper_id=f"s{number}") for number in range(400))
    put_on_show(campaign, *((shopper, tea, 0.5) for shopper in shoppers))
    return campaign


@pytest.fixture
def experiment(campaign: Campaign) -> Experiment:
    return draft(campaign, approved_run(campaign, "milk"))


def page(experiment: Experiment, name: str = "change") -> str:
    return reverse(f"admin:recommender_experiment_{name}", args=[experiment.pk])


def run_it(experiment: Experiment, *, of_default: float = 10, of_other: float = 12) -> None:
    """It began days ago, everybody was served, and shoppers spent so much on average."""
    began = timezone.now() - timedelta(days=8)
    start_experiment(experiment=experiment, now=began)
    from tests.services.test_experiment_results import ExperimentExposure, choose_arm

    ExperimentExposure.objects.bulk_create(
        ExperimentExposure(
            experiment=experiment,
            arm_id=choose_arm(experiment.split, shopper.shopper_id).arm,  # type: ignore[arg-type]
            shopper=shopper,
            exposed_at=began,
        )
        for shopper in Shopper.objects.all()
    )
    first, second = arms_of(experiment)
    buy(amounts(keys_of(first), of_default), began + timedelta(days=1))
    buy(amounts(keys_of(second), of_other), began + timedelta(days=1))
    WhatArmsChanged(experiment).sum_up()


def form(campaign: Campaign, *arms: tuple[int, str], **fields: Any) -> dict[str, Any]:
    posted = {"name": "which", "campaign": campaign.pk, "outcome": "revenue", **fields}
    posted |= {"arms-TOTAL_FORMS": len(arms), "arms-INITIAL_FORMS": 0, "arms-MIN_NUM_FORMS": 0}
    for number, (run, share) in enumerate(arms):
        posted |= {
            f"arms-{number}-name": f"arm {number}",
            f"arms-{number}-run": run,
            f"arms-{number}-share_percent": share,
        }
    return posted


def test_an_experiment_is_prepared_with_its_arms(admin_client: Client, campaign: Campaign) -> None:
    live, other = Run.objects.get(), approved_run(campaign, "milk")
    answer = admin_client.post(
        reverse("admin:recommender_experiment_add"), form(campaign, (live.pk, "70"), (other.pk, "30"))
    )
    assert answer.status_code == 302
    experiment = Experiment.objects.get()
    assert (experiment.state, experiment.split) == ("drafted", None)
    assert [(arm.run, str(arm.share_percent)) for arm in arms_of(experiment)] == [(live, "70.0"), (other, "30.0")]
    assert Publication.objects.count() == 1


@pytest.mark.parametrize(
    ("shares", "other_campaign", "said"),
    [
        (("70", "20"), False, "add up to 90 percent"),
        (("50", "50"), True, "of the experiment&#x27;s campaign"),
    ],
)
def test_arms_that_do_not_fit_are_refused(
    admin_client: Client, campaign: Campaign, shares: tuple[str, str], other_campaign: bool, said: str
) -> None:
    live, other = Run.objects.get(), approved_run(campaign, "milk")
    if other_campaign:
        Run.objects.filter(pk=other.pk).update(campaign=make_campaign("summer"))
    runs = zip((live.pk, other.pk), shares, strict=True)
    answer = admin_client.post(reverse("admin:recommender_experiment_add"), form(campaign, *runs))
    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert not Experiment.objects.exists()


def test_starting_is_asked_first_and_told(admin_client: Client, experiment: Experiment) -> None:
    asked = admin_client.get(page(experiment, "start"))
    assert asked.status_code == 200
    assert Publication.objects.count() == 1
    assert "50.0 % of the shoppers" in asked.content.decode()
    answer = admin_client.post(page(experiment, "start"), follow=True)
    assert "The experiment runs." in answer.content.decode()
    experiment.refresh_from_db()
    assert (experiment.state, experiment.started_by) == ("running", Publication.objects.latest("pk").published_by)
    assert "The experiment runs." in admin_client.get(page(experiment, "history")).content.decode()


def test_what_cannot_start_says_why(admin_client: Client, experiment: Experiment) -> None:
    experiment.arms.update(share_percent=40)
    answer = admin_client.get(page(experiment, "start"), follow=True)
    assert "do not add up to 100 percent" in answer.content.decode()


def test_what_runs_is_not_changed_or_deleted(admin_client: Client, experiment: Experiment) -> None:
    start_experiment(experiment=experiment)
    assert admin_client.post(page(experiment), {"name": "other"}).status_code == 403
    assert admin_client.post(page(experiment, "delete"), {"post": "yes"}).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": experiment.pk, "post": "yes"}
    admin_client.post(reverse(LIST), chosen)
    experiment.refresh_from_db()
    assert (experiment.name, experiment.state) == ("which salt", "running")


def test_figures_are_summed_up_by_a_job_and_shown(admin_client: Client, experiment: Experiment) -> None:
    start_experiment(experiment=experiment)
    assert "are being summed up" in admin_client.get(page(experiment)).content.decode()


def test_the_last_figures_are_those_of_the_end(admin_client: Client, experiment: Experiment) -> None:
    """However new those are that were summed up while it ran."""
    run_it(experiment)
    WhatArmsChanged(experiment).sum_up()
    shown = admin_client.get(page(experiment)).content.decode()
    assert "As of" in shown
    assert "made anew when somebody looks after" in shown

    admin_client.post(page(experiment, "stop"))

    assert "are being summed up" in admin_client.get(page(experiment)).content.decode()
    experiment.refresh_from_db()
    WhatArmsChanged(experiment).sum_up()
    assert "As of" in admin_client.get(page(experiment)).content.decode()


def test_each_arm_is_shown_beside_the_default(admin_client: Client, experiment: Experiment) -> None:
    run_it(experiment)
    shown = admin_client.get(page(experiment)).context["experiment"]
    first, second = arms_of(experiment)
    assert shown["warnings"] == []
    assert shown["summary"] == f"Surely better than the default, and no harm found: {second}."
    assert [(arm["name"], arm["is_default"], len(arm["rows"])) for arm in shown["arms"]] == [
        (first.name, True, 0),
        (second.name, False, 6),
    ]
    assert [bool(arm["url"]) for arm in shown["arms"]] == [False, True]
    decisive = shown["arms"][1]["rows"][0]
    assert (decisive["outcome"], decisive["decides"], decisive["harms"]) == ("Revenue", True, False)
    assert decisive["verdict"] == "Surely more than the default"


def test_harm_and_a_mismatch_are_alarms(admin_client: Client, experiment: Experiment) -> None:
    run_it(experiment, of_other=7)
    second = arms_of(experiment)[1]
    assert admin_client.get(page(experiment)).context["experiment"]["warnings"] == [
        f"Arm “{second}” surely does harm: Revenue, Margin."
    ]
    second.exposures.filter(pk__in=list(second.exposures.values_list("pk", flat=True)[:120])).delete()
    WhatArmsChanged(experiment).sum_up()
    answer = admin_client.get(page(experiment))
    shown = answer.context["experiment"]
    assert shown["warnings"][0].startswith("The arms do not have the shares")
    assert {row["verdict"] for row in shown["arms"][1]["rows"]} == {"Not to be believed"}
    home = admin_client.get(reverse("admin:index")).content.decode()
    assert page(experiment) in home


def test_the_better_arm_is_made_the_default_with_one_click(admin_client: Client, experiment: Experiment) -> None:
    run_it(experiment)
    second = arms_of(experiment)[1]
    url = admin_client.get(page(experiment)).context["experiment"]["arms"][1]["url"]
    asked = admin_client.get(url)
    assert asked.context["form"].initial["arm"] == str(second.pk)
    answer = admin_client.post(url, {"arm": second.pk}, follow=True)
    assert "is shown to everybody" in answer.content.decode()
    experiment.refresh_from_db()
    assert (experiment.state, experiment.winner) == ("ended", second)
    assert Publication.objects.live().get().run == second.run


def test_what_speaks_against_an_arm_has_to_be_read(admin_client: Client, experiment: Experiment) -> None:
    run_it(experiment, of_other=7)
    second = arms_of(experiment)[1]
    refused = admin_client.post(page(experiment, "make_default"), {"arm": second.pk})
    assert refused.status_code == 200
    told = refused.content.decode()
    assert "It surely does harm: Revenue, Margin." in told
    assert "Something speaks against this arm." in told
    experiment.refresh_from_db()
    assert experiment.state == "running"
    admin_client.post(page(experiment, "make_default"), {"arm": second.pk, "accepted": "on"})
    experiment.refresh_from_db()
    assert experiment.winner == second


def test_an_arm_of_another_experiment_is_not_made_the_default(admin_client: Client, experiment: Experiment) -> None:
    run_it(experiment)
    other = draft(experiment.campaign, approved_run(experiment.campaign, "tea"), salt="other")
    answer = admin_client.post(page(experiment, "make_default"), {"arm": arms_of(other)[1].pk, "accepted": "on"})
    assert answer.status_code == 200
    experiment.refresh_from_db()
    assert experiment.state == "running"


def test_ending_without_a_change(admin_client: Client, experiment: Experiment) -> None:
    start_experiment(experiment=experiment)
    admin_client.post(page(experiment, "stop"))
    experiment.refresh_from_db()
    assert (experiment.state, experiment.winner) == ("ended", None)
    told = admin_client.post(page(experiment, "stop"), follow=True).content.decode()
    assert "This experiment is not running." in told


def test_publishing_beside_an_experiment_says_what_to_do(
    admin_client: Client, experiment: Experiment, client_with: Callable[..., Client]
) -> None:
    start_experiment(experiment=experiment)
    live = Publication.objects.live().get()
    roll_back = reverse("admin:recommender_campaign_roll_back", args=[experiment.campaign_id])
    publishing = reverse("admin:recommender_run_publish", args=[approved_run(experiment.campaign, "milk").pk])
    for address in (roll_back, publishing):
        for answer in (
            admin_client.get(address, follow=True),
            admin_client.post(address, {"live": live.pk}, follow=True),
        ):
            shown = answer.content.decode()
            assert "end the experiment first" in shown
            assert "answer_key" not in shown, "it is not even asked"
    assert Publication.objects.live().get() == live
    told = client_with("view_campaign", "view_experiment").get(
        reverse("admin:recommender_campaign_change", args=[experiment.campaign_id])
    )
    assert page(experiment) in told.content.decode()


def test_a_run_under_review_says_what_it_would_bring_or_why_it_cannot(admin_client: Client, campaign: Campaign) -> None:
    live, run = Run.objects.get(), approved_run(campaign, "milk")
    address = reverse("admin:recommender_run_change", args=[run.pk])

    def told() -> dict[str, Any]:
        return admin_client.get(address).context["would_bring"]

    assert "tries nothing" in str(told()["refusal"])
    Run.objects.filter(pk=live.pk).update(exploration={"share": 0.5, "chances": {"tea": 0.5, "milk": 0.5}})
    live.recommendations.update(propensity=0.75)
    chosen = list(live.recommendations.order_by("pk").values_list("pk", flat=True))[::2]
    milk = Coupon.objects.get(coupon_id="milk")
    live.recommendations.filter(pk__in=chosen).update(coupon=milk, propensity=0.25)
    assert told()["shown"].content is None, "a job adds it up"
    topic = WouldBring(run, Publication.objects.live().get())
    topic.sum_up()
    assert told()["refusal"].startswith("Not enough data yet: since this run was computed, shoppers used 0 coupons")
    Redemption.objects.bulk_create(
        Redemption(
            shopper=row.shopper, coupon=milk, campaign=campaign, redeemed_at=timezone.now() - timedelta(minutes=1)
        )
        for row in live.recommendations.filter(coupon=milk).select_related("shopper")[:60]
    )
    topic.sum_up()
    assert [(row["name"], row["value"]) for row in told()["rows"]] == [
        ("What the live lists brought", "15.00"),
        ("What these lists would have brought", f"{100 * (0.4 + 4 * (60 - 200 * 0.4) / 400):.2f}"),
        ("The same by weighting alone", "60.00"),
    ]
    Run.objects.filter(pk=live.pk).update(exploration={"share": 0.5, "chances": {"tea": 1.0}})
    topic.sum_up()
    assert told()["refusal"].startswith("Only 0.0 % of these lists could have stood")


def test_the_page_takes_as_many_queries_for_many_arms_as_for_few(admin_client: Client, campaign: Campaign) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def count_queries(arms: int) -> int:
        Experiment.objects.filter(state="running").update(state="ended")
        Publication.objects.filter(arm__isnull=False).update(ended_at=timezone.now())
        runs = [approved_run(campaign, "milk") for _number in range(arms - 1)]
        experiment = draft(campaign, *runs, shares=(str(100 // arms),) * arms, salt=str(arms))
        start_experiment(experiment=experiment)
        WhatArmsChanged(experiment).sum_up()
        admin_client.get(page(experiment))
        with CaptureQueriesContext(connection) as queries:
            assert admin_client.get(page(experiment)).status_code == 200
        return len(queries)

    assert count_queries(5) == count_queries(2)
    assert ExperimentArm.objects.count() == 7
