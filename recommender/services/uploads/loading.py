"""An upload is checked by a dry run, and loaded once somebody has seen what that found."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from django.utils import timezone

from recommender.models import Upload
from recommender.progress import Progress
from recommender.services.ingest import LoadRefused, LoadReport, load_export
from recommender.services.shared_files import delete_file, find_file, name_of, share_file
from recommender.services.uploads.receiving import UploadRefused, find_import_folder, stored_path
from recommender.services.uploads.unpacking import refuse_overgrown, refuse_unknown_name, unpack_zip
from recommender.wording import gettext as _
from recommender.wording import keep, renamed


def check_upload(*, upload: Upload, progress: Progress = Progress()) -> Upload:
    """Do a dry run, and note what it found: the upload is ``checked`` with a report, or ``refused`` with a problem.

    One that was loaded meanwhile, or whose files are gone, stays as it is.

    Raises:
        Cancelled: by ``progress``; the upload stays as it was.
    """
    try:
        with _opened(upload, progress) as export:
            report = load_export(
                folder=export.folder,
                whole=export.whole,
                dry_run=True,
                put_aside_path=upload.put_aside_path,
                progress=progress,
            )
    except (LoadRefused, UploadRefused) as refusal:
        _note(upload, state=Upload.State.REFUSED, problem=str(refusal), report=None)
    else:
        _note(upload, state=Upload.State.CHECKED, problem="", report=_as_json(report))
    upload.refresh_from_db()
    return upload


def load_upload(*, upload: Upload, progress: Progress = Progress()) -> Upload:
    """Load a checked upload into the tables, and note what was done. One that is loaded already stays as it is.

    Raises:
        LoadRefused: the shop or the export changed since the check, or the upload was not found fit. Nothing was
            changed, and the upload stays as it was.
        Cancelled: by ``progress``; nothing was changed.
    """
    upload.refresh_from_db()
    if upload.state == Upload.State.LOADED:
        return upload
    if upload.state != Upload.State.CHECKED:
        raise LoadRefused(_("The upload has not passed its check."))

    expected = upload.report["files"] if upload.report else []

    def record(report: LoadReport) -> None:
        # What staff agreed to is what they were shown.
        if _as_json(report)["files"] != expected:
            raise LoadRefused(
                _("The tables or the export changed since the check. Nothing was loaded. Check it again.")
            )
        _note(upload, state=Upload.State.LOADED, loaded_at=timezone.now(), report=_as_json(report))

    try:
        with _opened(upload, progress) as export:
            load_export(
                folder=export.folder,
                whole=export.whole,
                put_aside_path=upload.put_aside_path,
                record=record,
                progress=progress,
            )
    except UploadRefused as refusal:
        raise LoadRefused(str(refusal)) from refusal
    upload.refresh_from_db()
    return upload


@dataclass(frozen=True)
class _Export:
    """The folder of an upload's tables; ``whole`` unless it is but one of them."""

    folder: Path
    whole: bool


@contextmanager
def _opened(upload: Upload, progress: Progress) -> Iterator[_Export]:
    """The upload as a folder that can be loaded. What is unpacked for it is deleted afterwards."""
    upload.directory.mkdir(parents=True, exist_ok=True, mode=0o700)  # a folder's rows put aside are kept there too
    delete_file(name_of(upload.put_aside_path))
    with ExitStack() as stack:
        if upload.source == Upload.Source.FOLDER:
            export = _Export(find_import_folder(upload.name), whole=True)
            _refuse_links(export.folder)
        else:
            path = find_file(name_of(stored_path(upload)))
            if not path.is_file():
                raise LoadRefused(_("The file is no longer there. Upload it again."))
            if path.suffix == ".zip":
                unpacked = tempfile.TemporaryDirectory(dir=upload.directory, prefix="unpacked-")
                export = _Export(Path(stack.enter_context(unpacked)), whole=True)
                unpack_zip(path=path, into=export.folder, progress=progress)
            else:
                export = _Export(path.parent, whole=False)
                refuse_unknown_name(path.name)
            refuse_overgrown(paths=sorted(export.folder.iterdir()), progress=progress)
        try:
            yield export
        except LoadRefused as refusal:
            # Where on this machine the tables lay says nothing to staff.
            raise LoadRefused(renamed(str(refusal), str(export.folder), upload.name)) from refusal
        finally:
            if upload.put_aside_path.is_file():
                share_file(name_of(upload.put_aside_path))


def _refuse_links(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            raise LoadRefused(_("%(name)s in the folder is a link, which is not followed.") % {"name": path.name})


def _as_json(report: LoadReport) -> dict[str, object]:
    """The report without the paths of this machine."""
    fields = asdict(report)
    del fields["folder"], fields["put_aside_path"]
    fields["examples"] = [{**row, "reason": keep(row["reason"])} for row in fields["examples"]]
    return fields


def _note(upload: Upload, **fields: object) -> None:
    """Write what was found, unless the upload was loaded or its files deleted meanwhile."""
    rows = Upload.objects.filter(pk=upload.pk, files_deleted_at__isnull=True)
    if not rows.exclude(state=Upload.State.LOADED).update(**fields):
        raise LoadRefused(_("The upload was loaded, or its files were deleted, meanwhile."))
