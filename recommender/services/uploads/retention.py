"""Files of uploads are deleted: when staff say so, and when they are old. What was found and done stays on record."""

import logging
from datetime import datetime, timedelta

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone
from import_export.tmp_storages import MediaStorage

from recommender.models import Job, Upload
from recommender.services.shared_files import delete_folder, name_of
from recommender.wording import gettext as _

#: How long a spreadsheet may be looked at before it is imported.
PREVIEW_KEPT = timedelta(days=1)

logger = logging.getLogger(__name__)


def delete_files(*, upload: Upload) -> Upload:
    """Delete the file of an upload and its rows that were put aside. A folder under the import directory stays.

    Raises:
        ValueError: a job works on it.
    """
    with transaction.atomic():
        now = Upload.objects.select_for_update().get(pk=upload.pk)
        if Job.objects.unfinished().filter(key=now.job_key).exists():
            raise ValueError(_("A job works on it. Cancel the job first."))
        # Inside the transaction: a deletion that fails is tried again, because the row says nothing of it.
        delete_folder(name_of(now.directory))
        if now.files_deleted_at is None:
            now.files_deleted_at = timezone.now()
            now.save(update_fields=["files_deleted_at"])
    return now


def delete_old_files(*, now: datetime) -> int:
    """Delete the files of uploads that are older than the site keeps them.

    Returns:
        How many uploads lost theirs.
    """
    before = now - timedelta(days=settings.UPLOAD_RETENTION_DAYS)
    old = Upload.objects.filter(uploaded_at__lt=before, files_deleted_at__isnull=True)
    deleted = 0
    for upload in old.order_by("pk").iterator():
        try:
            delete_files(upload=upload)
        except (ValueError, OSError):  # the next night tries again
            logger.warning("The files of upload %s stay.", upload.pk, exc_info=True)
        else:
            deleted += 1
    return deleted


def delete_forgotten_spreadsheets(*, now: datetime) -> int:
    """Delete spreadsheets that were looked at in a preview and not imported since.

    Returns:
        How many there were.
    """
    folder = MediaStorage().MEDIA_FOLDER
    if not default_storage.exists(folder):
        return 0
    names = [f"{folder}/{name}" for name in default_storage.listdir(folder)[1]]
    old = [name for name in names if default_storage.get_modified_time(name) < now - PREVIEW_KEPT]
    for name in old:
        default_storage.delete(name)
    return len(old)
