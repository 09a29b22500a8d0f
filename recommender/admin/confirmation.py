"""A page that asks before something is done, and does it on the answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from django import forms
from django.contrib import messages
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from recommender.admin.base import TableAdmin, change_url, changelist_url
from recommender.models import Answer

KEY = "answer_key"


@dataclass(frozen=True)
class Confirmation:
    """What the page says.

    Attributes:
        title: what is to be done.
        text: what will change by it.
        button: the answer that does it.
        facts: names and values that help to decide.
        dangerous: whether the button warns.
    """

    title: str
    text: str
    button: str
    facts: Sequence[tuple[str, object]] = ()
    dangerous: bool = False


@dataclass(frozen=True)
class Outcome:
    """What was done, and the page to go on with if it is not the one that the action was started from."""

    message: str
    url: str | None = None


def confirm_and_do(
    *,
    model_admin: TableAdmin,
    request: HttpRequest,
    confirmation: Confirmation,
    act: Callable[[Mapping[str, Any]], Outcome],
    refusal: str | None = None,
    obj: Model | None = None,
    form_class: type[forms.Form] = forms.Form,
    initial: dict[str, Any] | None = None,
) -> HttpResponse:
    """Ask on a GET; on a POST with a valid form call ``act`` with its cleaned data, say what came of it, and go on.

    With a ``refusal`` nobody is asked: it says why the thing cannot be done now. A ``ValueError`` of ``act`` is a
    refusal too: its text is shown, and what ``act`` wrote is undone.

    Every page that is shown has a key, and one key does the thing once: whoever clicks again, even at the same moment,
    is told what came of the first click.
    """
    back = changelist_url(model_admin.model) if obj is None else change_url(obj)
    key = _read_key(request)
    if request.method == "POST" and (answered := Answer.objects.filter(key=key).first()) is not None:
        return _go_on(request, answered)
    if refusal is not None:
        messages.error(request, refusal)
        return redirect(back)
    form = form_class(request.POST if request.method == "POST" else None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            with transaction.atomic():
                answer, is_first = Answer.objects.get_or_create(key=key)  # waits for a click that is being answered
                if is_first:
                    outcome = act(form.cleaned_data)
                    answer.message, answer.url = outcome.message, outcome.url or back
                    answer.save()
                    if obj is not None:
                        model_admin.log_change(request, obj, outcome.message)
        except ValueError as error:
            messages.error(request, str(error))
            return redirect(back)
        return _go_on(request, answer)
    context = {
        **model_admin.admin_site.each_context(request),
        "title": confirmation.title,
        "opts": model_admin.opts,
        "original": obj,
        "confirmation": confirmation,
        "form": form,
        "key": key,
        "back": back,
    }
    return TemplateResponse(request, "admin/recommender/confirm.html", context)


def _read_key(request: HttpRequest) -> UUID:
    """The key that the answered page was shown with; a new one for a page that is asked for."""
    try:
        return UUID(request.POST[KEY])
    except (KeyError, ValueError):
        return uuid4()


def _go_on(request: HttpRequest, answer: Answer) -> HttpResponse:
    messages.success(request, answer.message)
    return redirect(answer.url)
