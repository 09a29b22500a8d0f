"""Who may do what: a table of role × action, compared with what the pages really let each role do.

What can be done is found by walking the admin: a page, an action or an address that the table does not know fails.
"""

from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.contrib.sessions.models import Session
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule

from recommender import models
from recommender.models import Campaign, Job, Run
from recommender.roles import ROLES, UNSEEN, grant_roles, holds
from recommender.services.experiments import start_experiment, stop_experiment
from recommender.services.publishing import publish
from tests.admin.rows import add_rows
from tests.services.small_shop import add_run

pytestmark = pytest.mark.django_db

NOBODY: frozenset[str] = frozenset()
ALL = frozenset(ROLES)
ADMINISTRATORS = frozenset({"administrator"})
EDITORS = ADMINISTRATORS | {"editor"}
APPROVERS = ADMINISTRATORS | {"approver"}
PUBLISHERS = ADMINISTRATORS | {"publisher"}

#: Of each model: who sees it, adds, changes and deletes its rows.
PAGES = {
    models.ApiKey: (ADMINISTRATORS, ADMINISTRATORS, NOBODY, NOBODY),
    models.Campaign: (ALL, EDITORS, EDITORS, EDITORS),
    models.CampaignCoupon: (ALL, EDITORS, EDITORS, EDITORS),
    models.CampaignSegment: (ALL, EDITORS, EDITORS, EDITORS),
    models.CampaignShopper: (ALL, EDITORS, EDITORS, EDITORS),
    models.Category: (ALL, EDITORS, EDITORS, EDITORS),
    models.CodeBatch: (ALL, EDITORS, NOBODY, NOBODY),
    models.Coupon: (ALL, EDITORS, EDITORS, EDITORS),
    models.CouponTarget: (ALL, EDITORS, EDITORS, EDITORS),
    models.Batch: (ALL, EDITORS, EDITORS, EDITORS),
    models.ProjectStage: (ALL, EDITORS, EDITORS, EDITORS),
    models.Device: (ALL, NOBODY, NOBODY, NOBODY),
    models.DevicePart: (ALL, EDITORS, EDITORS, EDITORS),
    models.Evaluation: (ALL, NOBODY, NOBODY, NOBODY),
    models.Event: (ALL, NOBODY, NOBODY, NOBODY),
    models.Experiment: (ALL, EDITORS, EDITORS, EDITORS),
    models.GroupBuy: (ALL, NOBODY, NOBODY, NOBODY),
    models.Job: (ALL, NOBODY, NOBODY, NOBODY),
    models.ModelVersion: (ALL, NOBODY, NOBODY, NOBODY),
    models.Order: (ALL, NOBODY, NOBODY, NOBODY),
    models.OrderLine: (ALL, NOBODY, NOBODY, NOBODY),
    models.Product: (ALL, EDITORS, EDITORS, EDITORS),
    models.Promotion: (ALL, NOBODY, NOBODY, NOBODY),
    models.Publication: (ALL, NOBODY, NOBODY, NOBODY),
    models.Recommendation: (ALL, NOBODY, NOBODY, NOBODY),
    models.Redemption: (ALL, NOBODY, NOBODY, NOBODY),
    models.Reservation: (ALL, NOBODY, NOBODY, NOBODY),
    models.Erasure: (ALL, NOBODY, NOBODY, NOBODY),
    models.Run: (ALL, NOBODY, NOBODY, NOBODY),
    models.RunComment: (ALL, NOBODY, NOBODY, NOBODY),
    models.RunCorrection: (ALL, NOBODY, NOBODY, NOBODY),
    models.RunCorrectionShopper: (ALL, NOBODY, NOBODY, NOBODY),
    models.RunCoupon: (ALL, NOBODY, NOBODY, NOBODY),
    models.RunInput: (ALL, NOBODY, NOBODY, NOBODY),
    models.RunShard: (ALL, NOBODY, NOBODY, NOBODY),
    models.SaleEvent: (ALL, EDITORS, EDITORS, EDITORS),
    models.SearchTrial: (ALL, NOBODY, NOBODY, NOBODY),
    models.Segment: (ALL, EDITORS, EDITORS, EDITORS),
    models.SegmentCondition: (ALL, EDITORS, EDITORS, EDITORS),
    models.Seller: (ALL, EDITORS, EDITORS, EDITORS),
    models.Shop: (ALL, NOBODY, ADMINISTRATORS, NOBODY),
    models.Shopper: (ALL, ADMINISTRATORS, ADMINISTRATORS, ADMINISTRATORS),
    models.Snapshot: (ALL, NOBODY, NOBODY, NOBODY),
    models.TokenSigner: (ADMINISTRATORS, ADMINISTRATORS, NOBODY, NOBODY),
    models.Upload: (ALL, EDITORS, NOBODY, NOBODY),
    models.User: (ADMINISTRATORS, ADMINISTRATORS, ADMINISTRATORS, NOBODY),
    models.WebhookDelivery: (ADMINISTRATORS, NOBODY, NOBODY, NOBODY),
    models.WebhookEndpoint: (ADMINISTRATORS, ADMINISTRATORS, ADMINISTRATORS, NOBODY),
    ClockedSchedule: (ALL, ADMINISTRATORS, ADMINISTRATORS, ADMINISTRATORS),
    CrontabSchedule: (ALL, ADMINISTRATORS, ADMINISTRATORS, ADMINISTRATORS),
    Group: (ADMINISTRATORS, ADMINISTRATORS, ADMINISTRATORS, ADMINISTRATORS),
    IntervalSchedule: (ALL, ADMINISTRATORS, ADMINISTRATORS, ADMINISTRATORS),
    LogEntry: (ALL, NOBODY, NOBODY, NOBODY),
    PeriodicTask: (ALL, ADMINISTRATORS, ADMINISTRATORS, ADMINISTRATORS),
    SolarSchedule: (ALL, ADMINISTRATORS, ADMINISTRATORS, ADMINISTRATORS),
}

#: Who may do what else. Of work that somebody else started: one's own can always be cancelled.
ACTIONS = {
    "apikey.revoke": ADMINISTRATORS,
    "apikey.rotate": ADMINISTRATORS,
    "campaign.duplicate": EDITORS,
    "campaign.recommend": EDITORS,
    "campaign.results": ALL,
    "campaign.roll_back": PUBLISHERS,
    "codebatch.export": EDITORS,
    "codebatch.go_on": EDITORS,
    "experiment.make_default": PUBLISHERS,
    "experiment.start": PUBLISHERS,
    "experiment.stop": PUBLISHERS,
    "groupbuy.whom_to_invite": ALL,
    "job.cancel": ADMINISTRATORS,
    "modelversion.compare": ALL,
    "modelversion.compare_latest": ALL,
    "modelversion.explain_champion": ALL,
    "modelversion.promote": ADMINISTRATORS,
    "modelversion.train": EDITORS,
    "periodictask.disable_tasks": ADMINISTRATORS,
    "periodictask.enable_tasks": ADMINISTRATORS,
    "periodictask.run_tasks": ADMINISTRATORS,
    "recommendation.put_back": APPROVERS,
    "recommendation.take_out": APPROVERS,
    "run.approve": APPROVERS,
    "run.approve_chosen": APPROVERS,
    "run.correct": APPROVERS,
    "run.publish": PUBLISHERS,
    "run.publish_later": PUBLISHERS,
    "run.reject": APPROVERS,
    "run.reject_chosen": APPROVERS,
    "run.roll_back": PUBLISHERS,
    "run.score_again": EDITORS,
    "saleevent.report": ALL,
    "searchtrial.search": EDITORS,
    "segment.reckon_tiers": EDITORS,
    "shopper.erase": ADMINISTRATORS,
    "tokensigner.revoke": ADMINISTRATORS,
    "upload.cancel": ADMINISTRATORS,
    "upload.check_again": EDITORS,
    "upload.delete_files": EDITORS,
    "upload.load": EDITORS,
    "webhookdelivery.redeliver": ADMINISTRATORS,
    "webhookendpoint.replace_secret": ADMINISTRATORS,
}
#: Actions that change nothing, or lead to a page that asks first.
LOOKING = {
    "campaign.results",
    "groupbuy.whom_to_invite",
    "modelversion.compare",
    "modelversion.compare_latest",
    "modelversion.explain_champion",
    "recommendation.put_back",
    "recommendation.take_out",
    "run.approve_chosen",
    "run.reject_chosen",
    "run.roll_back",
    "saleevent.report",
}

#: Files that are of one campaign or one sale event.
OF_ONE = {"results_export", "change_export", "report_export"}
#: Who may open the pages that are neither of the above.
ADDRESSES = {
    "auth_user_password_change": ADMINISTRATORS,
    "recommender_campaign_calendar": ALL,
    "recommender_campaign_change_export": ALL,
    "recommender_campaign_results_export": ALL,
    "recommender_campaign_results_list": ALL,
    "recommender_coupon_export": ALL,
    "recommender_coupon_import": EDITORS,
    "recommender_coupon_process_import": EDITORS,
    "recommender_groupbuy_outlook": ALL,
    "recommender_job_progress": ALL,
    "recommender_modelversion_backtest_figure": ALL,
    "recommender_modelversion_drawing": ALL,
    "recommender_modelversion_figure": ALL,
    "recommender_product_export": ALL,
    "recommender_product_import": EDITORS,
    "recommender_product_process_import": EDITORS,
    "recommender_recommendation_correct": APPROVERS,
    "recommender_run_budget": ALL,
    "recommender_run_comment": ALL,
    "recommender_run_find_shopper": ALL,
    "recommender_run_review": APPROVERS,
    "recommender_run_sample": ALL,
    "recommender_run_shopper": ALL,
    "recommender_run_undo_correction": APPROVERS,
    "recommender_saleevent_report_export": ALL,
    "recommender_segment_export": ALL,
    "recommender_segment_import": EDITORS,
    "recommender_segment_preview": EDITORS,
    "recommender_segment_preview_of": EDITORS,
    "recommender_segment_process_import": EDITORS,
    "recommender_upload_progress": ALL,
    "recommender_upload_put_aside": ALL,
}
#: Those of them that change something when a form is sent.
WRITING = {
    "recommender_recommendation_correct": {"reason": "sold out"},
    "recommender_run_comment": {"text": "fine"},
    "recommender_run_review": {},
    "recommender_run_undo_correction": {},
}

#: Django's own pages of each model, which PAGES tells of. An autocompletion asks for the right to see.
STANDARD = {"add", "autocomplete", "change", "changelist", "delete", "history"}


@pytest.fixture
def clients() -> dict[str, Client]:
    """A member of staff of each role, signed in, and one without a role."""
    models.Shop.current()  # the first page would make it
    signed_in = {}
    for role in [*ROLES, "no role"]:
        user = models.User.objects.create(username=role, is_staff=True)
        if role in ROLES:
            user.groups.add(Group.objects.get(name=role))
        signed_in[role] = Client()
        signed_in[role].force_login(user)
    return signed_in


def address(model: type[Model], page: str, *arguments: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)


def everything() -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table but the sessions'."""
    return {
        model._meta.label: list(model._default_manager.order_by("pk").values_list())
        for model in apps.get_models()
        if model is not Session
    }


def walk() -> list[tuple[str, type[Model], str]]:
    """Every action: its name, its model, and whether it is about a row, the list or rows that were chosen."""
    found = []
    for model, model_admin in admin.site._registry.items():
        kinds = {"row": model_admin.actions_detail, "list": model_admin.actions_list, "chosen": model_admin.actions}
        kinds |= {"in a row": model_admin.actions_row, "on saving": model_admin.actions_submit_line}
        for kind, actions in kinds.items():
            names = model_admin._extract_action_names(actions)
            found += [(f"{model._meta.model_name}.{name}", model, kind) for name in names]
    return found


def test_the_table_knows_all_that_can_be_done() -> None:
    assert set(PAGES) == set(admin.site._registry)
    actions = {name: kind for name, _model, kind in walk()}
    assert set(actions) == set(ACTIONS)
    assert set(actions.values()) == {"row", "list", "chosen"}, "others are not tried below"
    names = {pattern.name for page in admin.site._registry.values() for pattern in page.get_urls() if pattern.name}
    standard = {f"{model._meta.app_label}_{model._meta.model_name}_{page}" for model in PAGES for page in STANDARD}
    actions_addresses = {f"{model._meta.app_label}_{name.replace('.', '_')}" for name, model, _kind in walk()}
    assert names - standard - actions_addresses == set(ADDRESSES)


@pytest.mark.parametrize("model", PAGES, ids=lambda model: model.__name__)
def test_pages(model: type[Model], clients: dict[str, Client]) -> None:
    add_rows(1)
    row = model._default_manager.earliest("pk")
    see, add, change, delete = PAGES[model]
    before = everything()
    for role, client in clients.items():
        answers = [
            client.get(address(model, "changelist"), follow=True),
            client.get(address(model, "change", row.pk)),
            client.get(address(model, "history", row.pk)),
        ]
        refusals = {302, 403} if model is LogEntry else {403}  # entries of what one may not see are not there
        assert {answer.status_code for answer in answers} <= ({200} if role in see else refusals), role
        if role in add:
            assert client.get(address(model, "add")).status_code == 200, role
        else:
            assert client.post(address(model, "add"), {}).status_code == 403, role
        if role in change:
            assert answers[1].context["has_change_permission"], role
        else:
            assert client.post(address(model, "change", row.pk), {}).status_code == 403, role
        chosen = {"action": "delete_selected", "_selected_action": row.pk}
        if role in delete:
            assert client.get(address(model, "delete", row.pk)).status_code == 200, role
            assert client.post(address(model, "changelist"), chosen).status_code == 200, role
        else:
            assert client.post(address(model, "delete", row.pk), {"post": "yes"}).status_code == 403, role
            client.post(address(model, "changelist"), {**chosen, "post": "yes"})
        assert everything() == before, role


@pytest.mark.parametrize("role", [*ROLES, "no role"])
@pytest.mark.parametrize(("name", "model", "kind"), walk(), ids=lambda value: value if isinstance(value, str) else "")
def test_actions(
    role: str, name: str, model: type[Model], kind: str, clients: dict[str, Client], request: pytest.FixtureRequest
) -> None:
    if name == "periodictask.run_tasks":
        request.getfixturevalue("broker")
    add_rows(1)
    row, answer = prepare(name, model)
    action = name.partition(".")[2]
    before = everything()
    match kind:
        case "row":
            answered = clients[role].post(address(model, action, row.pk), answer)
        case "list":
            answered = clients[role].post(address(model, action), answer)
        case _:
            answered = clients[role].post(
                address(model, "changelist"), {"action": action, "_selected_action": row.pk, **answer}
            )
    may = role in ACTIONS[name]
    assert (everything() != before) is (may and name not in LOOKING)
    if may:
        assert answered.status_code in (200, 302)
    elif kind != "chosen":  # an action on chosen rows is not known to those who may not
        assert answered.status_code == 403


@pytest.mark.parametrize("name", ADDRESSES)
def test_other_addresses(name: str, clients: dict[str, Client]) -> None:
    add_rows(1)
    page = other_address(name)
    before = everything()
    for role, client in clients.items():
        if name == "recommender_run_comment":  # nothing to look at
            assert client.get(page).status_code == 405, role
        else:
            assert (client.get(page).status_code == 403) is (role not in ADDRESSES[name]), role
        if role not in ADDRESSES[name]:
            assert client.post(page, WRITING.get(name, {})).status_code == 403, role
        assert everything() == before, role


@pytest.mark.parametrize("name", WRITING)
def test_other_addresses_that_write(name: str, clients: dict[str, Client]) -> None:
    add_rows(1)
    Run.objects.update(state=Run.State.DRAFTED)
    page = other_address(name)
    for role in sorted(ADDRESSES[name]):
        models.RunCorrection.objects.update(undone_at=None, undone_by=None)
        Run.objects.update(state=Run.State.DRAFTED)
        before = everything()
        assert clients[role].post(page, WRITING[name]).status_code == 302, role
        assert everything() != before, role


GRANTING = {"is_superuser": "on", "user_permissions": ["1", "2"]}


@pytest.mark.parametrize("role", [*ROLES, "no role"])
def test_nobody_makes_themselves_or_others_superusers(role: str, clients: dict[str, Client]) -> None:
    chief = models.User.objects.create_superuser("chief", password="secret of the chief")
    other = models.User.objects.create(username="other")
    own = models.User.objects.get(username=role)
    administrators = Group.objects.get(name="administrator")
    may = role in ADMINISTRATORS
    before = everything()
    posted = {"is_active": "on", "is_staff": "on", "date_joined_0": "2024-01-01", "date_joined_1": "10:00", **GRANTING}
    for user in (own, other):
        answer = clients[role].post(
            address(models.User, "change", user.pk),
            {**posted, "username": user.username, "groups": [administrators.pk] if may else []},
        )
        assert answer.status_code == (302 if may else 403)
    added = {"username": "new", "usable_password": "true", "password1": "s3cret of new", "password2": "s3cret of new"}
    answer = clients[role].post(address(models.User, "add"), {**added, **posted})
    assert answer.status_code == (302 if may else 403)
    assert list(models.User.objects.filter(is_superuser=True)) == [chief]
    assert not models.User.user_permissions.through.objects.exists()

    # A superuser's account is theirs: its password too would be a way in.
    kept = list(models.User.objects.filter(pk=chief.pk).values())
    taken = {"usable_password": "true", "password1": "s3cret of mine", "password2": "s3cret of mine"}
    pages = {
        address(models.User, "change", chief.pk): {**posted, "username": "mine"},
        reverse("admin:auth_user_password_change", args=[chief.pk]): taken,
        address(models.User, "delete", chief.pk): {"post": "yes"},
    }
    for page, data in pages.items():
        assert clients[role].post(page, data).status_code == 403, page
    assert list(models.User.objects.filter(pk=chief.pk).values()) == kept
    assert (everything() != before) is may


def test_a_superuser_makes_another_and_an_administrator_is_not_shown_how(clients: dict[str, Client]) -> None:
    chief, other = models.User.objects.create_superuser("chief"), models.User.objects.create(username="other")
    page = address(models.User, "change", other.pk)
    fields = clients["administrator"].get(page).context["adminform"].form.fields
    assert {"groups", "is_staff"} <= set(fields)
    assert not set(GRANTING) & set(fields)
    chiefs = Client()
    chiefs.force_login(chief)
    posted = {"username": "other", "is_active": "on", "date_joined_0": "2024-01-01", "date_joined_1": "10:00"}
    assert chiefs.post(page, {**posted, "is_superuser": "on"}).status_code == 302
    assert models.User.objects.get(username="other").is_superuser


@pytest.mark.parametrize("role", ROLES)
def test_own_work_can_be_called_off_by_whoever_started_it(role: str, clients: dict[str, Client]) -> None:
    user = models.User.objects.get(username=role)
    own = Job.objects.create(kind=Job.Kind.RECOMMEND, key="own", started_by=user)
    clients[role].post(address(Job, "cancel", own.pk))
    own.refresh_from_db()
    assert own.state == Job.State.CANCELLED


@pytest.mark.parametrize("role", ["editor", "analyst"])
def test_the_work_on_an_upload_can_be_called_off_by_whoever_started_it(role: str, clients: dict[str, Client]) -> None:
    add_rows(1)
    upload = models.Upload.objects.get()
    job = Job.objects.create(
        kind=Job.Kind.CHECK, key=upload.job_key, started_by=models.User.objects.get(username="editor")
    )
    models.Upload.objects.update(check_job=job)
    answered = clients[role].post(address(models.Upload, "cancel", upload.pk))
    job.refresh_from_db()
    assert (answered.status_code, job.state) == ((302, "cancelled") if role == "editor" else (403, "queued"))


def test_the_groups_hold_what_the_table_of_roles_says() -> None:
    for role in ROLES:
        expected = {
            name for name in _permissions(Permission.objects.all()) if holds(role, name, roles=ROLES, unseen=UNSEEN)
        }
        assert _permissions(Group.objects.get(name=role).permissions.all()) == expected, role


def test_every_action_of_its_own_was_given_to_a_role_or_kept_for_administrators() -> None:
    own = {
        f"{model._meta.app_label}.{codename}"
        for model in apps.get_app_config("recommender").get_models()
        for codename, _name in model._meta.permissions
    }
    kept = {"recommender.cancel_job", "recommender.erase_shopper", "recommender.promote_modelversion"}
    given = {
        name for name in own for role in set(ROLES) - ADMINISTRATORS if holds(role, name, roles=ROLES, unseen=UNSEEN)
    }
    assert given == own - kept


def test_a_role_is_added_to_what_a_group_had() -> None:
    analysts = Group.objects.get(name="analyst")
    kept = Permission.objects.get(codename="cancel_job")
    analysts.permissions.set([kept])
    grant_roles(apps, roles={"analyst": ["recommender.view_*"], "cashier": []}, unseen=["recommender.view_apikey"])
    held = _permissions(analysts.permissions.all())
    assert "recommender.cancel_job" in held
    assert "recommender.view_user" in held
    assert "recommender.view_apikey" not in held
    assert Group.objects.get(name="cashier").permissions.count() == 0


def _permissions(rows: Any) -> set[str]:
    return {f"{label}.{codename}" for label, codename in rows.values_list("content_type__app_label", "codename")}


def other_address(name: str) -> str:
    """Where such a page is, for rows that are there."""
    app_label, model_name, page = name.split("_", 2)
    if page == "review":
        return reverse(f"admin:{name}", args=["approve"], query={"run": Run.objects.get().pk})
    if page == "correct":
        return reverse(f"admin:{name}", args=["exclude"], query={"row": models.Recommendation.objects.get().pk})
    if page.endswith(("calendar", "list", "export", "import", "backtest_figure")) and page not in OF_ONE:
        return reverse(f"admin:{name}")
    if name in ("recommender_segment_preview", "recommender_groupbuy_outlook"):
        return reverse(f"admin:{name}")
    model = models.User if app_label == "auth" else apps.get_model(app_label, model_name)
    keys = [model._default_manager.earliest("pk").pk]
    if page == "shopper":
        keys.append(models.Shopper.objects.get().pk)
    if page == "undo_correction":
        keys.append(models.RunCorrection.objects.earliest("pk").pk)
    return reverse(f"admin:{name}", args=keys)


def stop_experiments() -> None:
    """Those that another action has started: beside them nothing is published, and no other is started."""
    for running in models.Experiment.objects.running():
        stop_experiment(experiment=running)


def prepare(name: str, model: type[Model]) -> tuple[Model, dict[str, Any]]:
    """A row of the model in the state that the action needs, and the answer to its page."""
    row = model._default_manager.latest("pk")
    answer: dict[str, Any] = {}
    match name:
        case "apikey.rotate":
            answer = {"grace": "24"}
        case "run.approve" | "run.reject":
            row = add_run(Campaign.objects.get(), state=Run.State.DRAFTED)
        case "run.score_again":
            row = add_run(Campaign.objects.get(), state=Run.State.COMPUTING)
            models.RunShard.objects.create(run=row, number=0, shopper_ids=["s"], state=models.RunShard.State.FAILED)
        case "run.publish" | "run.publish_later":
            stop_experiments()
            Campaign.objects.update(ends_at=timezone.now() + timedelta(days=30))
            row = add_run(Campaign.objects.get())
            answer = {"accepted": "on"}  # of what a guardrail warns of
            if name == "run.publish_later":
                answer |= {"publish_at": f"{timezone.now() + timedelta(days=1):%Y-%m-%dT%H:%M}"}
        case "experiment.start" | "experiment.stop" | "experiment.make_default":
            Campaign.objects.update(ends_at=timezone.now() + timedelta(days=30))
            campaign = Campaign.objects.get()
            stop_experiments()
            shown = models.Publication.objects.live().first() or publish(run=add_run(campaign))
            row = models.Experiment.objects.create(campaign=campaign, name=name)
            row.arms.create(name="as it is", run=shown.run, share_percent=50)
            challenger = row.arms.create(name="other", run=add_run(campaign), share_percent=50)
            if name != "experiment.start":
                start_experiment(experiment=row)
            answer = {"arm": challenger.pk, "accepted": "on"}
        case "recommendation.take_out" | "recommendation.put_back":
            models.Recommendation.objects.update(excluded=name.endswith("put_back"))
            Run.objects.update(state=Run.State.DRAFTED)
        case "run.correct":
            Run.objects.update(state=Run.State.DRAFTED)
            coupon = models.Coupon.objects.get()
            answer = {"kind": "exclude", "coupon": "coupon-1", "reason": "sold out", "seen": f"exclude:{coupon.pk}::"}
        case "codebatch.go_on":
            models.CodeBatch.objects.update(made=0)
        case "upload.load":
            models.Upload.objects.update(state=models.Upload.State.CHECKED, report={"files": []})
        case "upload.cancel":
            models.Upload.objects.update(check_job=Job.objects.earliest("pk"))
        case "groupbuy.whom_to_invite":
            open_again = {"state": models.GroupBuy.State.OPEN, "joined": 1, "ended_at": None}
            models.GroupBuy.objects.update(closes_at=timezone.now() + timedelta(days=1), **open_again)
        case "campaign.duplicate":
            answer = {"campaign_id": "copy", "starts_at": "2030-01-01T10:00"}
        case "campaign.recommend":
            answer = {"top": "5"}
        case "campaign.roll_back":
            answer = {"live": models.Publication.objects.live().get().pk}
        case "modelversion.promote":
            answer = {"reason": "better"}
        case "segment.reckon_tiers":  # from somebody who ordered before
            shopper = models.Shopper.objects.get()
            models.Order.objects.create(
                order_id="before",
                shopper=shopper,
                ordered_at=models.Order.objects.get().ordered_at - timedelta(days=50),
            )
        case "modelversion.train":
            Job.objects.all().delete()
        case "searchtrial.search":
            answer = {"minutes": "5"}
    return row, answer
