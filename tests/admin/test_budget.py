"""Budgets in the staff desk: asked for in the form, shown with the run, and chosen again from the curve."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from recommender.models import Campaign, Coupon, Job, Product, Redemption, Run, Shopper, User
from recommender.services.guardrails import check_floors, check_run_budget, check_sellers
from recommender.services.shopper_review import WhyNot, explain_absence
from tests.admin.rows import WITHIN_A_BUDGET, add_rows
from tests.services.small_shop import NOW, START, add_run, make_shop

FORM = {"top": "10", "objective": "redemptions", "budget": "", "required_return": ""}


@pytest.fixture
def campaign(db: None) -> Campaign:
    campaign = make_shop()
    Campaign.objects.update(ends_at=timezone.now() + timedelta(days=30))
    return campaign


@pytest.fixture
def run(campaign: Campaign) -> Run:
    """Within a budget of 10: s1 is offered c1, s2 nothing; c4 is left out."""
    run = add_run(campaign, state=Run.State.DRAFTED)
    terms = WITHIN_A_BUDGET["allocation_terms"] | {
        "coupon_ids": ["c1", "c2", "c3"],
        "value_per_use": [1.0, 1.0, -1.0],
        "left_out": {"c4": "cost"},
    }
    Run.objects.update(**{**WITHIN_A_BUDGET, "allocation_terms": terms, "coupon_ids": ["c1", "c2", "c3"], "top": 2})
    run.refresh_from_db()
    run.shards.create(number=0, shopper_ids=["s1", "s2"], state="scored")
    run.shards.create(number=1, shopper_ids=["s3", "s4"], state="scored")
    offer(run, "c1", 1)
    run.run_coupons.create(
        coupon=Coupon.objects.get(coupon_id="c1"), shopper_count=1, expected_uses=4.5, discount_per_use=2
    )
    return run


def offer(run: Run, coupon_id: str, rank: int) -> None:
    run.recommendations.create(
        shopper=Shopper.objects.get(shopper_id="s1"),
        coupon=Coupon.objects.get(coupon_id=coupon_id),
        rank=rank,
        score=0.5,
    )


def recommend(client: Client, campaign: Campaign, **answers: str) -> Any:
    return client.post(reverse("admin:recommender_campaign_recommend", args=[campaign.pk]), {**FORM, **answers})


def budget_page(run: Run) -> str:
    return reverse("admin:recommender_run_budget", args=[run.pk])


# Asking


def test_the_form_gives_the_job_what_was_chosen(admin_client: Client, campaign: Campaign) -> None:
    Product.objects.update(cost=1)
    recommend(admin_client, campaign, objective="margin", budget="250.5", required_return="2")
    assert Job.objects.get().arguments == {
        "campaign": campaign.pk,
        "top": 10,
        "objective": "margin",
        "budget": "250.5",
        "required_return": "2",
    }


def test_nothing_need_be_chosen(admin_client: Client, campaign: Campaign) -> None:
    recommend(admin_client, campaign)
    assert Job.objects.get().arguments == {"campaign": campaign.pk, "top": 10, "objective": "redemptions"}


@pytest.mark.parametrize(
    ("field", "answer", "told"),
    [
        ("budget", "0", "A budget is above 0. Leave it empty for none."),
        ("budget", "-5", "A budget is above 0. Leave it empty for none."),
        ("budget", "much", "Enter a number."),
        ("budget", "7.01", "The campaign has 7 of its budget left. Raise that first, or choose no more."),
        ("required_return", "0", "A return is above 0. Leave it empty for none."),
        ("required_return", "100001", "Ensure this value is less than or equal to 100000."),
        ("objective", "margin", "Of no product it is known what it costs. Load the costs, or choose something else."),
        ("objective", "glory", "Select a valid choice. glory is not one of the available choices."),
        (
            "objective",
            "incremental_margin",
            "Whom coupons change is learned from campaigns of which shoppers were held out at random. It takes 2 that "
            "are over, with 100 shoppers or more in both groups. Choose margin for now, and hold some shoppers out of "
            "the next campaigns.",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(
    admin_client: Client, campaign: Campaign, field: str, answer: str, told: str
) -> None:
    Campaign.objects.update(budget=10)
    Redemption.objects.create(
        shopper=Shopper.objects.first(),
        coupon=Coupon.objects.first(),
        campaign=campaign,
        redeemed_at=START,
        discount_amount=3,
    )
    page = recommend(admin_client, campaign, **{field: answer})
    assert page.context["form"].errors == {field: [told]}
    assert not Job.objects.exists()
    assert ("Left of the campaign's budget", "7") in page.context["confirmation"].facts


@pytest.mark.parametrize("budget", ["", "3"])
def test_where_nothing_is_left_nothing_is_computed(admin_client: Client, campaign: Campaign, budget: str) -> None:
    Campaign.objects.update(budget=0)
    page = recommend(admin_client, campaign, budget=budget)
    assert page.context["form"].errors == {"budget": ["Nothing is left of the campaign's budget. Raise that first."]}
    assert not Job.objects.exists()


def test_what_is_asked_for_beside_other_work_is_not_lost_in_silence(admin_client: Client, campaign: Campaign) -> None:
    """Two tabs: the same choices are the same job, other choices are told to have started nothing."""
    recommend(admin_client, campaign, budget="10")
    first = Job.objects.get()
    page = reverse("admin:recommender_campaign_recommend", args=[campaign.pk])

    again = admin_client.post(page, {**FORM, "budget": "10"}, follow=True)
    other = admin_client.post(page, {**FORM, "budget": "33"}, follow=True)

    assert "The recommendations are being computed." in again.content.decode()
    assert f"with other choices (job {first.pk})" in other.content.decode()
    assert "The recommendations are being computed." not in other.content.decode()
    job = Job.objects.get()
    assert (job.pk, job.arguments["budget"]) == (first.pk, "10")


# Showing


def test_the_page_of_a_run_says_what_it_keeps_to(admin_client: Client, run: Run) -> None:
    page = admin_client.get(reverse("admin:recommender_run_change", args=[run.pk]))
    assert dict(page.context["within"]) == {
        "Brings the most": "redemptions",
        "Budget": "10 USD",
        "Expected discounts": "9.00 USD, 90.0 % of the budget",
        "Of the best possible": "at least 90.00 %: the lists bring 4.5 redemptions, no lists within the limits bring "
        "more than 5.0 redemptions",
        "One unit of budget more brings": "0.5 redemptions for 1 USD",
        "Left out, as what they cost or bring is not known": "c4",
    }
    assert f'href="{budget_page(run)}"' in page.content.decode()


def test_a_run_without_a_budget_says_nothing_of_one(admin_client: Client, campaign: Campaign) -> None:
    run = add_run(campaign, state=Run.State.DRAFTED)
    page = admin_client.get(reverse("admin:recommender_run_change", args=[run.pk]))
    assert page.context["within"] == []
    assert "What the lists keep to" not in page.content.decode()
    answer = admin_client.get(budget_page(run))
    assert "This run was computed without a budget." in answer.content.decode()
    assert answer.context["rows"] == []


def test_the_budget_page_has_the_whole_curve(admin_client: Client, run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(recommendation_count=19)
    page = admin_client.get(budget_page(run))
    rows = page.context["rows"]
    assert [row["amount"] for row in rows][:3] == ["0.5", "1", "1.5"]
    assert (len(rows), page.context["last"], page.context["stops_at"]) == (40, 39, "20.00 USD")
    assert rows[page.context["chosen"]] == {
        "amount": "10",
        "budget": "10.00 USD",
        "value": "5.0 redemptions",
        "marginal": "0.5 redemptions for 1 USD",
        "uses": "5.0",
        "offers": "19",
        "is_own": True,
        "stops": False,
    }
    assert rows[-1]["stops"]
    first, second = page.context["charts"]
    assert (first.x_top, first.y_top) == ("20.00 USD", "10")
    assert (second.y_top, second.lines[0][1]) == (
        "0.5 redemptions for 1 USD",
        "0.00,0.00 100.00,0.00 100.00,100.00 100.00,100.00",
    )


def test_where_a_return_is_required_the_curve_ends_where_it_is_kept(admin_client: Client, run: Run) -> None:
    """And the page of a run without a budget stands where the run spends."""
    Run.objects.filter(pk=run.pk).update(
        budget=None,
        required_return=Decimal("1.5"),
        spend_curve={
            "marginal_return": [2.0, 1.0, 0.0],  # 2 for each unit up to 10, then 1 up to 30
            "cost": [10.0, 30.0, 30.0],
            "value": [20.0, 40.0, 40.0],
            "intercept": [0.0, 10.0, 40.0],
            "uses": [5.0, 9.0, 9.0],
            "offers": [100.0, 300.0, 300.0],
        },
    )

    page = admin_client.get(budget_page(run))

    own = page.context["rows"][page.context["chosen"]]
    assert (own["amount"], own["is_own"], own["value"]) == ("9", True, "18 redemptions")
    last = page.context["rows"][-1]
    assert (last["amount"], last["value"], last["stops"]) == ("20", "30 redemptions", True)
    shown = page.content.decode()
    assert "Beyond 20.00 USD the required return could not be kept, so no more is spent." in shown
    assert '<input type="hidden" name="budget" value="9">' in shown
    assert "One unit of budget more brings" not in dict(page.context["within"])


def test_another_budget_is_asked_for_with_the_form_filled_in(admin_client: Client, run: Run) -> None:
    chosen = {"budget": "12.5", "objective": "revenue", "top": "2", "required_return": "1.5"}
    page = admin_client.get(reverse("admin:recommender_campaign_recommend", args=[run.campaign_id]), chosen)
    assert {field.name: field.value() for field in page.context["form"]} == chosen
    assert not Job.objects.exists(), "asking starts nothing"


def test_only_whoever_may_start_work_is_offered_to(client: Client, run: Run) -> None:
    from django.contrib.auth.models import Group

    for role, may in (("analyst", False), ("editor", True)):
        user = User.objects.create(username=role, is_staff=True)
        user.groups.add(Group.objects.get(name=role))
        client.force_login(user)
        assert ("Recommend with this budget" in client.get(budget_page(run)).content.decode()) is may


def test_a_run_that_is_being_computed_shows_what_it_was_asked(admin_client: Client) -> None:
    add_rows(1)
    Run.objects.update(state=Run.State.COMPUTING, spend_curve=None, allocation_value=None, budget=None)
    page = admin_client.get(budget_page(Run.objects.get()))
    assert dict(page.context["within"])["Budget"] == "none; coupons keep to what is left of theirs"
    assert page.context["rows"] == []


def test_sharing_out_that_failed_is_tried_again(admin_client: Client, run: Run) -> None:
    """All shards are done, and yet there is something to go on with."""
    job = Job.objects.create(kind=Job.Kind.RECOMMEND, key="failed", state=Job.State.FAILED, finished_at=NOW)
    Run.objects.update(state=Run.State.COMPUTING, job=job)
    again = reverse("admin:recommender_run_score_again", args=[run.pk])
    admin_client.post(again, follow=True)
    assert Job.objects.latest("pk").arguments == {"run": run.pk}

    Run.objects.update(allocated_at=NOW, job=job)
    answer = admin_client.post(again, follow=True)
    assert [str(message) for message in answer.context["messages"]] == [f"Nothing of run {run.pk} failed."]
    assert Job.objects.count() == 2


# Checking and explaining


def test_what_is_expected_is_checked_against_the_budget(run: Run) -> None:
    assert check_run_budget(run, NOW).kept
    run.run_coupons.update(expected_uses=5.1)
    finding = check_run_budget(run, NOW)
    assert (finding.broken, finding.forbids) == (
        "Discounts of 10.20 are expected, the run is to keep within 10.00.",
        False,
    )
    run.budget = None
    assert check_run_budget(run, NOW).kept


def why_not(run: Run, shopper_id: str) -> dict[str, WhyNot]:
    shopper = Shopper.objects.get(shopper_id=shopper_id)
    absent = explain_absence(run=run, shopper=shopper, moment=NOW, uses={})
    return {each.coupon.coupon_id: each.why for each in absent}


def test_what_the_budget_left_out_says_so(admin_client: Client, run: Run) -> None:
    assert why_not(run, "s1") == {
        "c2": WhyNot.BUDGET,
        "c3": WhyNot.BRINGS_NOTHING,
        "c4": WhyNot.COST_UNKNOWN,
    }
    shopper = Shopper.objects.get(shopper_id="s1")
    page = admin_client.get(reverse("admin:recommender_run_shopper", args=[run.pk, shopper.pk]))
    assert [other["why"] for other in page.context["others"]] == [
        "The budget: within it and the limits of coupons, other offers bring more for what they cost.",
        "A use of it brings nothing of the objective.",
        "Left out of the budget: it is not known what a use costs, neither by its terms nor by past redemptions nor by "
        "prices.",
    ]


def test_a_full_list_is_not_the_budgets_doing(run: Run) -> None:
    offer(run, "c3", 2)
    assert why_not(run, "s1")["c2"] == WhyNot.WORTH_LESS


def test_a_run_for_incremental_margin_says_what_taught_it(admin_client: Client, run: Run) -> None:
    terms = {**run.allocation_terms, "lost_per_use": [1.0, 1.0, 1.0], "taught_by": {"spring": 0.9, "summer": 0.5}}
    Run.objects.update(objective="incremental_margin", allocation_terms=terms)
    run.refresh_from_db()
    within = dict(admin_client.get(reverse("admin:recommender_run_change", args=[run.pk])).context["within"])
    assert within["Brings the most"] == "incremental margin"
    assert within["Whom coupons change is learned from the held out of"] == "spring, summer"
    assert within["One unit of budget more brings"] == "0.5 USD for 1 USD"
    assert why_not(run, "s1")["c2"] == WhyNot.NOT_NEW
    shopper = Shopper.objects.get(shopper_id="s1")
    page = admin_client.get(reverse("admin:recommender_run_shopper", args=[run.pk, shopper.pk]))
    assert page.context["others"][0]["why"].startswith("What the shopper would have bought anyway counts against it")


def test_a_run_with_one_coupon_of_a_category_says_so(admin_client: Client, run: Run) -> None:
    terms = {
        **run.allocation_terms,
        "one_per_category": True,
        "categories": {"c1": "A", "c2": "A"},
        "groups": [0, 0, 2],
    }
    Run.objects.update(allocation_terms=terms)
    run.refresh_from_db()
    for page in (reverse("admin:recommender_run_change", args=[run.pk]), budget_page(run)):
        within = dict(admin_client.get(page).context["within"])
        assert within["Coupons of a category on a list"] == "one; its coupons are of 1 category"
    assert why_not(run, "s1")["c2"] == WhyNot.SAME_CATEGORY
    assert why_not(run, "s2")["c2"] == WhyNot.BUDGET
    shopper = Shopper.objects.get(shopper_id="s1")
    page = admin_client.get(reverse("admin:recommender_run_shopper", args=[run.pk, shopper.pk]))
    assert page.context["others"][0]["why"] == (
        "A list has one coupon of a category, and another is on it already: c1."
    )


def test_a_run_that_promises_uses_says_how_far_it_goes(admin_client: Client, run: Run) -> None:
    terms = {**run.allocation_terms, "floor_segments": ["Loyal", "New"], "floor_uses": [1200, 3]}
    Run.objects.update(allocation_terms=terms, allocation_bound=None, floor_shortages=[12.5, 0])
    for page in (reverse("admin:recommender_run_change", args=[run.pk]), budget_page(run)):
        within = dict(admin_client.get(page).context["within"])
        assert within["Expected uses for “Loyal”"] == "at least 1,200: 12.5 fewer, as the limits leave no more"
        assert within["Expected uses for “New”"] == "at least 3: reached"
        assert "Of the best possible" not in within
    run.refresh_from_db()
    finding = check_floors(run, NOW)
    assert (finding.broken, finding.forbids) == (
        "Fewer uses are expected than segments are promised: Loyal (−12.5).",
        False,
    )
    Run.objects.update(state=Run.State.COMPUTING, floor_shortages=None)
    within = dict(admin_client.get(budget_page(run)).context["within"])
    assert within["Expected uses for “Loyal”"] == "at least 1,200"


def test_a_run_that_promises_places_to_sellers_says_what_they_got_and_what_it_cost(
    admin_client: Client, run: Run
) -> None:
    sellers = {"north": [0], "south": [1, 2]}
    terms = {**run.allocation_terms, "seller_coupons": sellers, "seller_floor_percent": 0.5, "places": 2_000}
    told = {"places": 1_900, "sellers": {"north": 7, "south": 1_893}, "value_without": 4.8}
    Run.objects.update(allocation_terms=terms, seller_places=told)
    for page in (reverse("admin:recommender_run_change", args=[run.pk]), budget_page(run)):
        within = dict(admin_client.get(page).context["within"])
        assert within["Places for each seller"] == "at least 0.50 % of all 2,000 places, which are 10"
        assert within["Reached for"] == "1 of 2 sellers"
        assert within["Fewer places, as the limits leave no more"] == "north (−3)"
        assert within["The fewest places"] == "north: 7"
        assert within["What the places for sellers cost"] == "0.3 redemptions of 4.8 redemptions, 6.25 %"
    run.refresh_from_db()
    assert check_sellers(run, NOW).broken == "1 seller gets fewer places than it is promised: north (−3)."
    assert not check_sellers(run, NOW).forbids
    assert why_not(run, "s1")["c2"] == WhyNot.BUDGET

    told["sellers"]["north"] = 10
    Run.objects.update(seller_places=told)
    assert dict(admin_client.get(budget_page(run)).context["within"])["Reached for"] == "2 sellers, all of them"
    run.refresh_from_db()
    assert check_sellers(run, NOW).kept
    Run.objects.update(state=Run.State.COMPUTING, seller_places=None)
    assert "Reached for" not in dict(admin_client.get(budget_page(run)).context["within"])


def test_another_budget_keeps_the_rules_too(admin_client: Client, run: Run) -> None:
    """They are the campaign's: the form says so before a run with another budget is started."""
    Campaign.objects.update(one_per_category=True)
    page = admin_client.get(reverse("admin:recommender_campaign_recommend", args=[run.campaign_id]), {"budget": "5"})
    assert ("Kept to", "one coupon of a category on a list") in page.context["confirmation"].facts
    assert page.context["form"].initial["budget"] == "5"


@pytest.mark.parametrize("shopper_id", ["s2", "s3", "s4"])
def test_whoever_gets_nothing_of_the_budget_was_considered(run: Run, shopper_id: str) -> None:
    assert why_not(run, shopper_id)["c1"] == WhyNot.BUDGET


def test_whom_the_run_was_not_for_was_not(run: Run) -> None:
    assert why_not(run, "s5")["c1"] == WhyNot.NO_LIST
    assert run.budget == Decimal(10)
