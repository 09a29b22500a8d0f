"""What is in an uploaded file, and whether it is safe to read: limits on names, on numbers and on sizes."""

import gzip
import io
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from django.conf import settings
from django.template.defaultfilters import filesizeformat

from recommender.progress import Progress
from recommender.services.ingest import LoadRefused
from recommender.services.ingest.reading import SUFFIXES
from recommender.services.ingest.tables import TABLES
from recommender.wording import gettext as _

NAMES = frozenset(f"{table.name}{suffix}" for table in TABLES for suffix in SUFFIXES)
#: Of an unpacked size to a packed one. Tables of text come to a tenth, as a rule.
MAX_RATIO = 200
#: Below it nobody asks for the ratio.
SMALL_BYTES = 2**20
CHUNK_BYTES = 2**20
#: Of a zip's table of contents, which is read at once. A hundred members take a hundredth of it.
MAX_CONTENTS_BYTES = 2**20
#: The least that a value takes in memory, whatever tricks made it small in its file.
VALUE_BYTES = 8
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def unpack_zip(*, path: Path, into: Path, progress: Progress = Progress()) -> None:
    """Unpack a zip of tables into an empty folder.

    Raises:
        LoadRefused: it is no zip, it is damaged, or a member is not a table of the export or too large.
    """
    progress.report(_("Looking into the zip"))
    try:
        with _BoundedReader(path.open("rb", buffering=0)) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            _refuse_members(members)
            if shutil.disk_usage(into).free < sum(member.file_size for member in members):
                raise LoadRefused(_("The disk has no room for the unpacked tables. Tell whoever runs the site."))
            for done, member in enumerate(members):
                progress.report(_("Unpacking %(name)s") % {"name": member.filename}, done, len(members))
                with archive.open(member) as packed, (into / member.filename).open("xb") as unpacked:
                    while chunk := packed.read(CHUNK_BYTES):
                        progress.report(_("Unpacking %(name)s") % {"name": member.filename}, done, len(members))
                        unpacked.write(chunk)
    except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError) as error:
        raise LoadRefused(_("The file is not a zip, or it is damaged: %(error)s.") % {"error": error}) from error


def refuse_unknown_name(name: str) -> None:
    """Raise LoadRefused when a single file is not named like a table."""
    if name not in NAMES:
        raise LoadRefused(_unknown_name() % {"name": name})


def refuse_overgrown(*, paths: Iterable[Path], progress: Progress = Progress()) -> None:
    """Look how large compressed tables are once they are read.

    Raises:
        LoadRefused: together they take more than the site's limit, or one of them cannot be read.
    """
    total = 0
    for path in paths:
        progress.report(_("Measuring %(name)s") % {"name": path.name})
        try:
            total += _measure(path, settings.UPLOAD_MAX_UNPACKED_BYTES - total, progress)
        except (OSError, EOFError, zlib.error) as error:
            raise LoadRefused(_cannot_read(path, error)) from error
        if total > settings.UPLOAD_MAX_UNPACKED_BYTES:
            raise LoadRefused(_too_large(path.name))


class _BoundedReader(io.BufferedReader):
    """A file of which nobody reads much at once, such as a table of contents made to fill the memory."""

    def read(self, size: int | None = -1) -> bytes:
        to_the_end = size is None or size < 0
        data = super().read(MAX_CONTENTS_BYTES + 1 if to_the_end else min(size or 0, MAX_CONTENTS_BYTES + 1))
        if len(data) > MAX_CONTENTS_BYTES:
            raise zipfile.BadZipFile("its table of contents is too long")
        return data


def _refuse_members(members: list[zipfile.ZipInfo]) -> None:
    if not members:
        raise LoadRefused(_("The zip is empty. Expected the tables of a shop export."))
    seen = set()
    total = 0
    for member in members:
        if problem := _find_problem(member):
            raise LoadRefused(problem)
        if member.filename in seen:
            raise LoadRefused(_("%(name)s comes twice in the zip.") % {"name": member.filename})
        seen.add(member.filename)
        total += member.file_size
        if total > settings.UPLOAD_MAX_UNPACKED_BYTES:
            raise LoadRefused(_too_large(member.filename))


def _find_problem(member: zipfile.ZipInfo) -> str | None:
    """What keeps a member from being unpacked. ``orig_filename`` is what the zip says, before zipfile made it tame."""
    name = member.orig_filename
    parts = name.replace("\\", "/").split("/")
    mode = member.external_attr >> 16
    grows = member.file_size > SMALL_BYTES and member.file_size > MAX_RATIO * member.compress_size
    problems = (
        (".." in parts, _("%(name)s leads out of its folder.")),
        (parts[0] == "" or name[1:2] == ":", _("%(name)s is an absolute path.")),
        (
            len(parts) > 1,
            _("%(name)s is in a folder of the zip. Expected the tables at the top: zip the files, not their folder."),
        ),
        (stat.S_IFMT(mode) not in (0, stat.S_IFREG), _("%(name)s is a link, or no file at all.")),
        (bool(member.flag_bits & 0x1), _("%(name)s is encrypted. Expected a zip without a password.")),
        (name not in NAMES, _unknown_name()),
        (
            member.compress_type not in COMPRESSIONS,
            _("%(name)s is compressed in a way that is not read here. Expected the usual one, deflate."),
        ),
        (grows, _("%(name)s would grow to more than %(ratio)d times its size, which no table does.")),
    )
    problem = next((text for found, text in problems if found), None)
    return problem and problem % {"name": name[:100], "ratio": MAX_RATIO}


def _measure(path: Path, limit: int, progress: Progress) -> int:
    """Bytes of a table once it is read; of a gzip no more than a chunk beyond ``limit``."""
    if path.name.endswith(".gz"):
        size = 0
        with gzip.open(path) as file:
            while size <= limit and (chunk := file.read(CHUNK_BYTES)):
                progress.report(_("Measuring %(name)s") % {"name": path.name})
                size += len(chunk)
        return size
    size = path.stat().st_size
    if path.suffix != ".parquet":
        return size
    import pyarrow as pa
    from pyarrow import parquet

    try:
        contents = parquet.read_metadata(path)
    except pa.ArrowException as error:
        raise LoadRefused(_cannot_read(path, error)) from error
    groups = (contents.row_group(number).total_byte_size for number in range(contents.num_row_groups))
    return max(size, sum(groups), contents.num_rows * contents.num_columns * VALUE_BYTES)


def _cannot_read(path: Path, error: Exception) -> str:
    return _("%(name)s is not what its name says, or it is damaged: %(error)s") % {
        "name": path.name,
        "error": str(error)[:300],
    }


def _too_large(name: str) -> str:
    return _("Unpacked, the tables up to %(name)s are larger than %(limit)s, the most that is read here.") % {
        "name": name,
        "limit": filesizeformat(settings.UPLOAD_MAX_UNPACKED_BYTES),
    }


def _unknown_name() -> str:
    """That a file's name is none of a table's; the name is still to be put in."""
    expected = ", ".join(table.name for table in TABLES)
    text = _("%(name)s is not a table of a shop export. Expected one of %(tables)s, followed by %(suffixes)s.")
    return text % {"name": "%(name)s", "tables": expected, "suffixes": ", ".join(SUFFIXES)}
