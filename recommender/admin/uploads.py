"""Bring data in: an export is uploaded or named, checked, looked at, and loaded."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.apps import apps
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.db import transaction
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminTextInputWidget

from recommender.admin.base import TableAdmin, change_url, changelist_url
from recommender.admin.confirmation import Confirmation, Outcome, confirm_and_do
from recommender.admin.figures import count_of
from recommender.admin.jobs import STATE_LABELS as JOB_LABELS
from recommender.admin.jobs import describe_progress, describe_silence, may_cancel
from recommender.models import Job, Upload
from recommender.services.shared_files import has_file, name_of, open_file
from recommender.wording import gettext as _
from recommender.wording import ngettext, recall

STATE_LABELS = {
    Upload.State.RECEIVED: "default",
    Upload.State.CHECKED: "info",
    Upload.State.REFUSED: "danger",
    Upload.State.LOADED: "success",
}
#: What a form with a file takes beside the file itself.
FORM_BYTES = 2**16
CHUNK_BYTES = 2**20
COUNTS = ("rows", "new", "changed", "unchanged", "removed", "put_aside")
#: The model that keeps a table's rows, by the name of its file.
MODELS = {
    "shoppers": "shopper",
    "products": "product",
    "orders": "order",
    "order_lines": "orderline",
    "coupons": "coupon",
    "coupon_products": "coupontarget",
    "campaigns": "campaign",
    "campaign_coupons": "campaigncoupon",
    "campaign_shoppers": "campaignshopper",
    "redemptions": "redemption",
    "events": "event",
}


class FileForm(forms.Form):
    file = forms.FileField(label=gettext_lazy("File"), max_length=255, widget=UnfoldAdminFileFieldWidget())


class FolderForm(forms.Form):
    folder = forms.CharField(label=gettext_lazy("Folder"), max_length=255, widget=UnfoldAdminTextInputWidget())


@admin.register(Upload)
class UploadAdmin(TableAdmin):
    """An upload is brought in and goes its way by actions; its row is neither changed nor deleted."""

    list_display = ("name", "state_label", "doing", "size_in_words", "uploaded_by", "uploaded_at")
    list_select_related = ("uploaded_by", "check_job", "load_job")
    list_filter = ("state", "source", "uploaded_at")
    search_fields = ("name__startswith", "digest__exact", "uploaded_by__username")
    list_before_template = "admin/recommender/upload_forms.html"
    change_form_outer_before_template = "admin/recommender/upload.html"
    fields = (
        *("name", "source", "state", "size_in_words", "digest", "uploaded_by", "uploaded_at"),
        *("check_job", "load_job", "loaded_at", "files_deleted_at"),
    )
    readonly_fields = fields
    actions_detail = ("load", "check_again", "cancel", "delete_files")
    warn_unsaved_form = False

    class Media:
        js = ("recommender/job_progress.js", "recommender/upload_size.js")

    def has_change_permission(self, request: HttpRequest, obj: Upload | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Upload | None = None) -> bool:
        return False

    def has_cancel_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        upload = None if object_id is None else self.get_object(request, object_id)
        return may_cancel(request, upload and upload.latest_job)

    @display(description=gettext_lazy("state"), ordering="state", label=STATE_LABELS)
    def state_label(self, upload: Upload) -> tuple[str, str]:
        return upload.state, upload.get_state_display()

    @display(description=gettext_lazy("doing"))
    def doing(self, upload: Upload) -> str:
        job = upload.latest_job
        return "" if job is None or job.state == Job.State.SUCCEEDED else f"{job}: {job.get_state_display()}"

    @display(description=gettext_lazy("size"), ordering="size")
    def size_in_words(self, upload: Upload) -> str:
        return "" if upload.size is None else filesizeformat(upload.size)

    # Bringing in

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("add/", view(self.bring_in), name="recommender_upload_add"),
            path("<int:upload_id>/progress/", view(self.progress), name="recommender_upload_progress"),
            path("<int:upload_id>/put-aside/", view(self.download_put_aside), name="recommender_upload_put_aside"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"title": _("Bring data in"), **_describe_forms(), **(extra_context or {})}
        return super().changelist_view(request, context)

    @method_decorator(csrf_exempt)  # which the method below makes good: the token is in a body that may be too long
    def bring_in(self, request: HttpRequest) -> HttpResponse:
        """Take an export; what is too large is refused before it is read."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        if _content_length(request) > settings.UPLOAD_MAX_BYTES + FORM_BYTES:
            from recommender.services.uploads.receiving import describe_too_big

            _read_on(request)
            file_form = FileForm({})
            file_form.errors.clear()
            file_form.add_error("file", describe_too_big())
            return self._show_forms(request, status=413, file_form=file_form)
        # Every file to the disk, however small: one way in is one to test.
        request.upload_handlers = [TemporaryFileUploadHandler(request)]
        return self._take(request)

    @method_decorator(csrf_protect)
    def _take(self, request: HttpRequest) -> HttpResponse:
        from recommender.services.uploads.receiving import UploadRefused, receive_file, receive_folder

        if request.method != "POST":
            return self._show_forms(request)
        by_folder = "folder" in request.POST
        form = FolderForm(request.POST) if by_folder else FileForm(request.POST, request.FILES)
        name = "folder" if by_folder else "file"
        if form.is_valid():
            given = form.cleaned_data[name]
            try:
                if by_folder:
                    upload = receive_folder(folder=given, uploaded_by=request.user)  # type: ignore[arg-type]
                else:
                    upload = receive_file(file=given, name=given.name, uploaded_by=request.user)  # type: ignore[arg-type]
            except UploadRefused as refusal:
                form.add_error(name, str(refusal))
            else:
                self.log_addition(request, upload, _("Brought in."))
                _start(upload, Job.Kind.CHECK, request)
                messages.success(request, _("%(name)s is being checked. Nothing is loaded yet.") % {"name": upload})
                return redirect(change_url(upload))
        return self._show_forms(request, status=422, **{f"{name}_form": form})

    def _show_forms(self, request: HttpRequest, status: int = 200, **forms_in_use: forms.Form) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": _("Bring data in"),
            "opts": self.opts,
            "media": self.media,
            "has_add_permission": True,
            **_describe_forms(),
            **forms_in_use,
        }
        return TemplateResponse(request, "admin/recommender/upload_add.html", context, status=status)

    # Looking

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        upload = self.get_object(request, object_id)
        if upload is not None and self.has_view_permission(request, upload):
            extra_context = {**(extra_context or {}), **_describe_upload(request, upload)}
        return super().change_view(request, object_id, form_url, extra_context)

    def progress(self, request: HttpRequest, upload_id: int) -> JsonResponse:
        """How far the upload's job is, for the page that shows it."""
        job = self.get_viewable(request, str(upload_id)).latest_job
        if job is None:
            raise Http404(_("No job works on it."))
        return JsonResponse(describe_progress(job))

    def download_put_aside(self, request: HttpRequest, upload_id: int) -> FileResponse:
        """The rows that cannot be loaded, each with its reason."""
        upload = self.get_viewable(request, str(upload_id))
        if not has_file(name := name_of(upload.put_aside_path)):
            raise Http404(_("No rows were put aside, or their file was deleted."))
        return FileResponse(open_file(name), as_attachment=True, filename=f"put-aside-{upload.pk}.csv")

    # Acting

    def list_possible_actions(self, obj: Upload) -> Iterable[str]:
        job = obj.latest_job
        if job is not None and not job.is_finished:
            return () if job.cancel_requested else ("cancel",)
        if obj.files_deleted_at:
            return ()
        if obj.state == Upload.State.LOADED:
            return ("delete_files",)
        return (
            ("load", "check_again", "delete_files")
            if obj.state == Upload.State.CHECKED
            else ("check_again", "delete_files")
        )

    @action(
        description=gettext_lazy("Load"),
        permissions=["recommender.load_upload"],
        icon="database_upload",
        variant=ActionVariant.PRIMARY,
    )
    def load(self, request: HttpRequest, object_id: str) -> HttpResponse:
        upload = self.get_viewable(request, object_id)

        def act(data: object) -> Outcome:
            _start(upload, Job.Kind.LOAD, request)
            return Outcome(_("%(name)s is being loaded.") % {"name": upload})

        totals = _sum_counts(upload)
        confirmation = Confirmation(
            title=_("Load this export"),
            text=_(
                "All of it is written, or nothing. Rows that were put aside are left out. There is no way back but an "
                "export with the old values."
            ),
            button=_("Load"),
            facts=[(_("Export"), upload), *((name, count_of(totals[key])) for key, name in _count_names().items())],
        )
        return confirm_and_do(
            model_admin=self,
            request=request,
            obj=upload,
            confirmation=confirmation,
            act=act,
            refusal=self._refuse("load", upload),
        )

    @action(
        description=gettext_lazy("Check again"),
        permissions=["recommender.add_upload"],
        icon="fact_check",
    )
    def check_again(self, request: HttpRequest, object_id: str) -> HttpResponse:
        upload = self.get_viewable(request, object_id)

        def act(data: object) -> Outcome:
            _start(upload, Job.Kind.CHECK, request)
            return Outcome(_("%(name)s is being checked. Nothing is loaded yet.") % {"name": upload})

        confirmation = Confirmation(
            title=_("Check this export again"),
            text=_("It is compared with the tables as they are now. Nothing is written to them."),
            button=_("Check again"),
            facts=[(_("Export"), upload), (_("State"), upload.get_state_display())],
        )
        return confirm_and_do(
            model_admin=self,
            request=request,
            obj=upload,
            confirmation=confirmation,
            act=act,
            refusal=self._refuse("check_again", upload),
        )

    @action(
        description=gettext_lazy("Cancel"),
        permissions=["cancel"],
        icon="cancel",
        variant=ActionVariant.DANGER,
    )
    def cancel(self, request: HttpRequest, object_id: str) -> HttpResponse:
        upload = self.get_viewable(request, object_id)
        job = upload.latest_job

        def act(data: object) -> Outcome:
            from recommender.jobs import cancel_job

            assert job is not None, "else it was refused"
            now = cancel_job(job=job, by=request.user)  # type: ignore[arg-type]
            if now.is_finished and now.state != Job.State.CANCELLED:
                raise ValueError(_("The job was finished already: %(state)s.") % {"state": now.get_state_display()})
            return Outcome(_("The work stops, and nothing is loaded."))

        confirmation = Confirmation(
            title=_("Cancel the work on this export"),
            text=_("It stops at its next step and leaves the tables as they were."),
            button=_("Cancel the work"),
            facts=[(_("Export"), upload), (_("Job"), job), (_("Doing"), (job and job.message) or "–")],
            dangerous=True,
        )
        return confirm_and_do(
            model_admin=self,
            request=request,
            obj=upload,
            confirmation=confirmation,
            act=act,
            refusal=self._refuse("cancel", upload),
        )

    @action(
        description=gettext_lazy("Delete the files"),
        permissions=["recommender.add_upload"],
        icon="delete",
        variant=ActionVariant.DANGER,
    )
    def delete_files(self, request: HttpRequest, object_id: str) -> HttpResponse:
        upload = self.get_viewable(request, object_id)

        def act(data: object) -> Outcome:
            from recommender.services.uploads.retention import delete_files

            delete_files(upload=upload)
            return Outcome(_("The files are deleted."))

        confirmation = Confirmation(
            title=_("Delete the files"),
            text=_(
                "The uploaded file and the rows that were put aside are deleted. What was loaded of it stays in the "
                "tables, and this page stays as a record. A folder in the import directory is left alone."
            ),
            button=_("Delete the files"),
            facts=[(_("Export"), upload)],
            dangerous=True,
        )
        return confirm_and_do(
            model_admin=self,
            request=request,
            obj=upload,
            confirmation=confirmation,
            act=act,
            refusal=self._refuse("delete_files", upload),
        )

    def _refuse(self, name: str, upload: Upload) -> str | None:
        """Why an action makes no sense now, if it makes none."""
        if name in self.list_possible_actions(upload):
            return None
        return _("That cannot be done now. This page shows how things stand.")


def _start(upload: Upload, kind: Job.Kind, request: HttpRequest) -> None:
    """Start a job on an upload.

    Raises:
        ValueError: another works on it, it was loaded, or its files are gone.
    """
    from recommender.jobs import start_job

    with transaction.atomic():
        now = Upload.objects.select_for_update().get(pk=upload.pk)
        possible = (
            (Upload.State.CHECKED,) if kind == Job.Kind.LOAD else set(Upload.State.values) - {Upload.State.LOADED}
        )
        if now.files_deleted_at or now.state not in possible:
            raise ValueError(_("That cannot be done now. This page shows how things stand."))
        job = start_job(
            kind=kind,
            key=now.job_key,
            arguments={"upload": now.pk},
            started_by=request.user,  # type: ignore[arg-type]
        )
        if job.kind != kind:
            raise ValueError(_("Another job works on it: %(job)s.") % {"job": job})
        if kind == Job.Kind.LOAD:
            now.load_job = job
        else:
            now.check_job = job
        now.save(update_fields=["load_job", "check_job"])


def _content_length(request: HttpRequest) -> int:
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        return 0


def _read_on(request: HttpRequest) -> None:
    """Read what a browser still sends, to an end, and forget it: it shows no answer before it has sent all."""
    left = settings.UPLOAD_MAX_BYTES
    while left > 0 and (chunk := request.read(CHUNK_BYTES)):
        left -= len(chunk)


def _describe_forms() -> dict[str, Any]:
    """What the forms need."""
    return {
        "file_form": FileForm(),
        "folder_form": FolderForm(),
        "max_bytes": settings.UPLOAD_MAX_BYTES,
        "max_size": filesizeformat(settings.UPLOAD_MAX_BYTES),
        "too_large": _("The file is larger than %(limit)s.") % {"limit": filesizeformat(settings.UPLOAD_MAX_BYTES)},
        "import_dir": settings.IMPORT_DIR,
        "kept": ngettext(
            "A file is kept for %(days)d day.", "A file is kept for %(days)d days.", settings.UPLOAD_RETENTION_DAYS
        )
        % {"days": settings.UPLOAD_RETENTION_DAYS},
    }


def _describe_upload(request: HttpRequest, upload: Upload) -> dict[str, Any]:
    """What the top of an upload's page shows."""
    job = upload.latest_job
    same = None
    if upload.digest:
        same = Upload.objects.filter(digest=upload.digest, pk__lt=upload.pk).order_by("-pk").first()
    return {
        "upload": upload,
        "job": job if job is not None and job.state != Job.State.SUCCEEDED else None,
        "state_variant": job and JOB_LABELS[Job.State(job.state)],
        "silence": job and describe_silence(job),
        "progress_url": reverse("admin:recommender_upload_progress", args=[upload.pk]),
        "same": same,
        "same_url": same and change_url(same),
        "count_names": _count_names(),
        "files": _tabulate_files(request, upload),
        "report": upload.report,
        "examples": [{**row, "reason": recall(row["reason"])} for row in (upload.report or {}).get("examples", [])],
        "notes": _list_notes(upload),
        "put_aside_url": has_file(name_of(upload.put_aside_path))
        and reverse("admin:recommender_upload_put_aside", args=[upload.pk]),
    }


def _count_names() -> dict[str, str]:
    names = (_("Rows"), _("New"), _("Changed"), _("Unchanged"), _("Removed"), _("Put aside"))
    return dict(zip(COUNTS, names, strict=True))


def _sum_counts(upload: Upload) -> Mapping[str, int]:
    files = (upload.report or {}).get("files", [])
    return {name: sum(file[name] for file in files) for name in COUNTS}


def _tabulate_files(request: HttpRequest, upload: Upload) -> list[dict[str, Any]]:
    """A row a file: its counts, and the list of its table's rows once they are loaded."""
    rows = []
    for file in (upload.report or {}).get("files", []):
        model = MODELS[file["file"].split(".")[0]]
        linked = upload.state == Upload.State.LOADED and request.user.has_perm(f"recommender.view_{model}")
        rows.append(
            {
                "name": file["file"],
                "url": changelist_url(apps.get_model("recommender", model)) if linked else None,
                "counts": [count_of(file[name]) for name in COUNTS],
            }
        )
    return rows


def _list_notes(upload: Upload) -> list[str]:
    """What staff should look at although it keeps nothing from being loaded."""
    report = upload.report or {}
    notes: list[str] = [
        _("%(file)s: left out the unknown columns %(columns)s.")
        % {"file": file["file"], "columns": ", ".join(file["left_out_columns"])}
        for file in report.get("files", [])
        if file["left_out_columns"]
    ]
    if report.get("ignored_files"):
        notes.append(
            _("Not part of a shop export, and not read: %(files)s.") % {"files": ", ".join(report["ignored_files"])}
        )
    return notes
