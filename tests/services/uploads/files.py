"""Shop exports as files that a browser would send."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from django.core.files.uploadedfile import SimpleUploadedFile

from recommender.models import Upload
from recommender.services.uploads.receiving import receive_file
from tests.services.ingest.exports import EXPORT


def zip_export(**changed: str | None) -> bytes:
    """The small export as a zip; a keyword replaces a table's text, None leaves the table out."""
    tables = {**EXPORT, **changed}
    return zip_members({f"{name}.csv": text for name, text in tables.items() if text is not None})


def zip_members(members: Mapping[str, str | bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def receive(content: bytes | Path, name: str = "export.zip") -> Upload:
    data = content.read_bytes() if isinstance(content, Path) else content
    return receive_file(file=SimpleUploadedFile(name, data), name=name, uploaded_by=None)
