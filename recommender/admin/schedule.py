"""When the machine works by itself: django-celery-beat's tables, in the look of the rest."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy
from django_celery_beat.admin import ClockedScheduleAdmin as BeatClockedScheduleAdmin
from django_celery_beat.admin import CrontabScheduleAdmin as BeatCrontabScheduleAdmin
from django_celery_beat.admin import PeriodicTaskAdmin as BeatPeriodicTaskAdmin
from django_celery_beat.admin import PeriodicTaskForm, TaskSelectWidget
from django_celery_beat.admin import PeriodicTaskInline as BeatPeriodicTaskInline
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from recommender.admin.history import HistoryMixin
from recommender.wording import gettext as _

for model in (ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask, SolarSchedule):
    admin.site.unregister(model)


class TaskWidget(UnfoldAdminSelectWidget, TaskSelectWidget):
    pass


class PeriodicTaskUnfoldForm(PeriodicTaskForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["task"].widget = UnfoldAdminTextInputWidget()
        self.fields["regtask"].widget = TaskWidget()


class PeriodicTaskInline(BeatPeriodicTaskInline, TabularInline):
    pass


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(HistoryMixin, BeatPeriodicTaskAdmin, ModelAdmin):
    form = PeriodicTaskUnfoldForm
    show_full_result_count = False
    list_display = ("name", "enabled", "scheduler", "last_run_at", "one_off")
    list_filter = ("enabled", "one_off", "last_run_at")
    date_hierarchy = None
    actions = ("enable_tasks", "disable_tasks", "run_tasks")

    @action(description=gettext_lazy("Switch on"), permissions=["change"])
    def enable_tasks(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        super().enable_tasks(request, queryset)
        self._log(request, queryset, _("Switched on."))

    @action(description=gettext_lazy("Switch off"), permissions=["change"])
    def disable_tasks(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        super().disable_tasks(request, queryset)
        self._log(request, queryset, _("Switched off."))

    @action(description=gettext_lazy("Run now"), permissions=["change"])
    def run_tasks(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        super().run_tasks(request, queryset)
        self._log(request, queryset, _("Asked to run now."))

    def _log(self, request: HttpRequest, tasks: QuerySet[PeriodicTask], message: str) -> None:
        for task in tasks:
            self.log_change(request, task, message)


@admin.register(IntervalSchedule)
class IntervalScheduleAdmin(HistoryMixin, ModelAdmin):
    search_fields = ("every", "period")
    inlines = (PeriodicTaskInline,)


@admin.register(CrontabSchedule)
class CrontabScheduleAdmin(HistoryMixin, BeatCrontabScheduleAdmin, ModelAdmin):
    search_fields = ("minute", "hour", "timezone")
    inlines = (PeriodicTaskInline,)


@admin.register(SolarSchedule)
class SolarScheduleAdmin(HistoryMixin, ModelAdmin):
    search_fields = ("event",)
    inlines = (PeriodicTaskInline,)


@admin.register(ClockedSchedule)
class ClockedScheduleAdmin(HistoryMixin, BeatClockedScheduleAdmin, ModelAdmin):
    search_fields = ("clocked_time",)
    inlines = (PeriodicTaskInline,)
