"""An export comes in. Nothing of it is read here but its name, its size and its digest: a web process does this."""

import hashlib
import re
import shutil
from pathlib import Path, PurePosixPath

from django.conf import settings
from django.core.files import File
from django.db import transaction
from django.template.defaultfilters import filesizeformat

from recommender.models import Upload, User
from recommender.services.shared_files import name_of, share_file
from recommender.wording import gettext as _

#: What a file that can be loaded is called: a zip by any name, or a table by its own.
NAME = re.compile(r"(?:[^\x00-\x1f/\\]+\.zip|[a-z_]+\.(?:csv|csv\.gz|parquet))", re.IGNORECASE)


class UploadRefused(ValueError):
    """The export cannot be taken, and nothing was kept. The message says why."""


def receive_file(*, file: File, name: str, uploaded_by: User | None) -> Upload:
    """Keep an uploaded file, chunk by chunk.

    Raises:
        UploadRefused: its name is not one of an export, it is empty, or it is too big.
    """
    if not NAME.fullmatch(name) or len(name) > 255:
        raise UploadRefused(
            _(
                "%(name)s cannot be loaded. Expected a zip of tables, or one table by its own name, such as "
                "orders.csv, orders.csv.gz or orders.parquet."
            )
            % {"name": name[:100]}
        )
    if not file.size:
        raise UploadRefused(_("%(name)s is empty.") % {"name": name})
    if file.size > settings.UPLOAD_MAX_BYTES:
        raise UploadRefused(describe_too_big())
    directory: Path | None = None
    try:
        with transaction.atomic():
            # The row's key names the folder, and the digest is known only when the file has been read.
            upload = Upload.objects.create(
                source=Upload.Source.FILE, name=name, size=file.size, digest="0" * 64, uploaded_by=uploaded_by
            )
            directory = upload.directory
            if directory.exists():  # left by a transaction that was undone
                shutil.rmtree(directory)
            directory.mkdir(parents=True, mode=0o700)
            stored_path(upload).parent.mkdir(exist_ok=True)
            upload.size, upload.digest = _store(file, stored_path(upload))
            share_file(name_of(stored_path(upload)))
            upload.save(update_fields=["size", "digest"])
    except BaseException:
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)
        raise
    return upload


def receive_folder(*, folder: str, uploaded_by: User | None) -> Upload:
    """Take note of a folder under the import directory.

    Raises:
        UploadRefused: there is no such folder, or the way to it leaves the import directory or goes over a link.
    """
    find_import_folder(folder)
    name = str(PurePosixPath(folder))
    return Upload.objects.create(source=Upload.Source.FOLDER, name=name, uploaded_by=uploaded_by)


def find_import_folder(folder: str) -> Path:
    """The folder of that name under the import directory.

    Raises:
        UploadRefused: as :func:`receive_folder`.
    """
    relative = PurePosixPath(folder)
    if "\0" in folder or relative.is_absolute() or ".." in relative.parts or not relative.parts or len(folder) > 255:
        raise UploadRefused(
            _("%(folder)s is not a folder under the import directory. Expected a name such as 2024-03.")
            % {"folder": folder[:100]}
        )
    path = Path(settings.IMPORT_DIR)
    for part in relative.parts:
        path /= part
        if path.is_symlink():
            raise UploadRefused(_("%(folder)s goes over a link, which is not followed.") % {"folder": folder})
    if not path.is_dir():
        raise UploadRefused(_("There is no folder %(folder)s in the import directory.") % {"folder": folder})
    return path


def stored_path(upload: Upload) -> Path:
    """The file of an upload. A table keeps its name, which says what it holds; a zip is called alike always."""
    name = upload.name.lower()
    return upload.directory / "export.zip" if name.endswith(".zip") else upload.directory / "table" / name


def describe_too_big() -> str:
    return _(
        "The file is larger than %(limit)s, the most that can be uploaded here. Put the export into a folder under the "
        "import directory and name it, or leave out years that were loaded before."
    ) % {"limit": filesizeformat(settings.UPLOAD_MAX_BYTES)}


def _store(file: File, path: Path) -> tuple[int, str]:
    digest = hashlib.sha256()
    size = 0
    with path.open("xb") as stored:
        for chunk in file.chunks():
            digest.update(chunk)
            size += len(chunk)
            stored.write(chunk)
    return size, digest.hexdigest()
