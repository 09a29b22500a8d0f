"""What is worth a second look, told where a thing is seen and again when it was saved."""

from typing import Any

from django.contrib import messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from recommender.admin.base import TableAdmin

MOST_MESSAGES = 3  # a page that is full of warnings is not read


class RemarksMixin(TableAdmin):
    """Shows remarks above the form as ``remarks``, and as warnings on the page that follows when the form was saved.

    They keep nobody from saving: what must not be is an error of the form.
    """

    def find_remarks(self, obj: Any) -> list[str]:
        raise NotImplementedError

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        obj = self.get_object(request, object_id)
        if obj is not None and self.has_view_permission(request, obj):
            extra_context = {**(extra_context or {}), "remarks": self.find_remarks(obj)}
        return super().change_view(request, object_id, form_url, extra_context)

    def response_post_save_add(self, request: HttpRequest, obj: Model) -> HttpResponseRedirect:
        self._warn(request, obj)
        return super().response_post_save_add(request, obj)

    def response_post_save_change(self, request: HttpRequest, obj: Model) -> HttpResponseRedirect:
        self._warn(request, obj)
        return super().response_post_save_change(request, obj)

    def _warn(self, request: HttpRequest, obj: Model) -> None:
        for remark in self.find_remarks(obj)[:MOST_MESSAGES]:
            messages.warning(request, remark)
