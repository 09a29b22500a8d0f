"""Every page of the staff desk, found in the site's addresses, and how somebody comes to it.

What is not known to be a page or not to be one is an error: a new page is visited, or the tests fail.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.urls import NoReverseMatch, URLPattern, reverse

from recommender import models
from recommender.models import Run, Shop
from tests.admin.rows import add_rows
from tests.admin.test_roles import ADDRESSES, PAGES, STANDARD, address, other_address, prepare, walk

#: Addresses that answer with something else than a page: data for a script, a picture, a download, the way elsewhere.
NO_PAGES = {
    *("autocomplete", "jsi18n", "logout", "search", "view_on_site"),
    "recommender_campaign_change_export",
    "recommender_campaign_results_export",
    "recommender_saleevent_report_export",
    "recommender_codebatch_export",
    "recommender_job_progress",
    "recommender_modelversion_backtest_figure",
    "recommender_modelversion_drawing",
    "recommender_modelversion_figure",
    "recommender_run_comment",
    "recommender_run_find_shopper",
    "recommender_run_review",  # below: it asks about runs that were chosen in their list
    *("recommender_segment_preview", "recommender_segment_preview_of"),
    "recommender_upload_progress",
    "recommender_upload_put_aside",
    # They want a file.
    "recommender_coupon_process_import",
    "recommender_product_process_import",
    "recommender_segment_process_import",
}
#: Pages of the admin as a whole.
WHOLE = {"index": (), "password_change": (), "password_change_done": (), "app_list": ("recommender",)}
#: Opened by whoever is not signed in.
SIGNED_OUT = {"login"}
#: In both languages; the others are in one of them.
MAIN = {
    "index",
    *("recommender_campaign_calendar", "recommender_campaign_change", "recommender_campaign_results"),
    *("recommender_coupon_change", "recommender_job_change", "recommender_modelversion_change"),
    *("recommender_modelversion_compare", "recommender_run_change", "recommender_run_changelist"),
    *(
        "recommender_run_budget",
        "recommender_run_publish",
        "recommender_run_sample",
        "recommender_run_shopper",
        "recommender_segment_add",
    ),
    *("recommender_upload_change", "recommender_upload_changelist"),
}
#: Lead to the page of the one row in question.
LEADING_ON = {"recommender_modelversion_compare_latest", "recommender_run_roll_back", "recommender_shop_changelist"}


@dataclass(frozen=True)
class Visit:
    """A page.

    Attributes:
        find: brings the rows into the state that it is about, and gives its address.
        chosen: the action to choose in a list, for the page that asks about rows that were chosen.
    """

    name: str
    find: Callable[[], str]
    chosen: str = ""


def list_visits() -> list[Visit]:
    """Every page that an administrator can open.

    Raises:
        LookupError: an address is not known.
    """
    actions = {f"{model._meta.app_label}_{name.replace('.', '_')}": (name, model) for name, model, _kind in walk()}
    standard = {
        f"{model._meta.app_label}_{model._meta.model_name}_{page}": (model, page)
        for model in PAGES
        for page in STANDARD
    }
    found = []
    for name in sorted(_names(admin.site.get_urls())):
        if name in NO_PAGES | SIGNED_OUT:
            continue
        if name in WHOLE:
            found.append(Visit(name, _whole(name)))
        elif name in standard:
            model, page = standard[name]
            if not _is_refused(model, page):
                found.append(Visit(name, _standard(model, page)))
        elif name in actions:
            found.append(Visit(name, _action(*actions[name])))
        elif name in ADDRESSES:
            found.append(Visit(name, _other(name)))
        else:
            raise LookupError(f"Is {name} a page? Say so in tests/admin/test_roles.py, and in {__file__}.")
    found += [
        Visit(f"{name} of chosen rows", _action(name, model, "changelist"), chosen=name.partition(".")[2])
        for name, model, kind in walk()
        if kind == "chosen" and name in ("run.approve_chosen", "run.reject_chosen")
    ]
    found += [
        Visit(f"{model._meta.model_name}: delete chosen rows", _standard(model, "changelist"), chosen="delete_selected")
        for model in (models.Coupon, models.Campaign)  # one template for all
    ]
    # What makes the page of a training ready clears the jobs away, so it comes last.
    return sorted(found, key=lambda visit: visit.name == "recommender_modelversion_train")


def prepare_rows() -> None:
    add_rows(1)
    shop = Shop.current()
    shop.champion = models.ModelVersion.objects.get()
    shop.save()


def open_visit(page: Any, site: str, visit: Visit) -> None:
    """Open a page in a browser, and wait until its scripts have dressed it.

    Raises:
        AssertionError: something else is shown.
    """
    where = visit.find()
    answer = page.goto(f"{site}{where}")
    assert answer.status == 200, f"{visit.name}: {answer.status}"
    if visit.chosen:
        page.locator("input[name=_selected_action]").first.check()
        page.evaluate("name => { document.querySelector('[name=action]').value = name }", visit.chosen)
        with page.expect_navigation():
            page.evaluate("document.querySelector('[name=action]').form.submit()")
    elif visit.name not in LEADING_ON:
        assert page.url == f"{site}{where}", f"{visit.name} leads to {page.url}"
    page.wait_for_function("!document.querySelector('[x-cloak]')")


def _names(patterns: list[Any]) -> Iterator[str]:
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            if pattern.name:
                yield pattern.name
        else:
            yield from _names(pattern.url_patterns)


def _is_refused(model: type[Model], page: str) -> bool:
    """Whether nobody adds or deletes such rows."""
    _see, add, _change, delete = PAGES[model]
    return page == "autocomplete" or (page == "add" and not add) or (page == "delete" and not delete)


def _whole(name: str) -> Callable[[], str]:
    return lambda: reverse(f"admin:{name}", args=WHOLE[name])


def _standard(model: type[Model], page: str) -> Callable[[], str]:
    def find() -> str:
        if page in ("add", "changelist"):
            return address(model, page)
        return address(model, page, model._default_manager.latest("pk").pk)

    return find


def _action(name: str, model: type[Model], page: str = "") -> Callable[[], str]:
    def find() -> str:
        models.Upload.objects.update(check_job=None, load_job=None)  # what another page was about
        row, _answer = prepare(name, model)
        try:
            return address(model, page or name.partition(".")[2])
        except NoReverseMatch:
            return address(model, name.partition(".")[2], row.pk)

    return find


def _other(name: str) -> Callable[[], str]:
    def find() -> str:
        Run.objects.update(state=Run.State.DRAFTED)
        return other_address(name)

    return find
