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
    progress.report("Looking into the zip")
    try:
        with _BoundedReader(path.open("rb", buffering=0)) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            _refuse_members(members)
            if shutil.disk_usage(into).free < sum(member.file_size for member in members):
                raise LoadRefused("The disk has no room for the unpacked tables. Tell whoever runs the site.")
            for done, member in enumerate(members):
                progress.report(f"Unpacking {member.filename}", done, len(members))
                with archive.open(member) as packed, (into / member.filename).open("xb") as unpacked:
                    while chunk := packed.read(CHUNK_BYTES):
                        progress.report(f"Unpacking {member.filename}", done, len(members))
                        unpacked.write(chunk)
    except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError) as error:
        raise LoadRefused(f"The file is not a zip, or it is damaged: {error}.") from error


def refuse_unknown_name(name: str) -> None:
    """Raise LoadRefused when a single file is not named like a table."""
    if name not in NAMES:
        raise LoadRefused(f"{name} {_unknown_name()}.")


def refuse_overgrown(*, paths: Iterable[Path], progress: Progress = Progress()) -> None:
    """Look how large compressed tables are once they are read.

    Raises:
        LoadRefused: together they take more than the site's limit, or one of them cannot be read.
    """
    total = 0
    for path in paths:
        progress.report(f"Measuring {path.name}")
        try:
            total += _measure(path, settings.UPLOAD_MAX_UNPACKED_BYTES - total, progress)
        except (OSError, EOFError, zlib.error) as error:
            raise LoadRefused(f"{path.name} cannot be read: {error}.") from error
        if total > settings.UPLOAD_MAX_UNPACKED_BYTES:
            raise LoadRefused(_too_large(path.name))


class _BoundedReader(io.BufferedReader):
    """A file of which nobody reads much at once, such as a table of contents made to fill the memory."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0 or size > MAX_CONTENTS_BYTES:
            raise zipfile.BadZipFile("its table of contents is too long")
        return super().read(size)


def _refuse_members(members: list[zipfile.ZipInfo]) -> None:
    if not members:
        raise LoadRefused("The zip is empty. Expected the tables of a shop export.")
    seen = set()
    total = 0
    for member in members:
        problem = _find_problem(member)
        if problem is None and member.filename in seen:
            problem = "comes twice"
        if problem:
            raise LoadRefused(f"The zip cannot be loaded: {member.filename[:100]!r} {problem}.")
        seen.add(member.filename)
        total += member.file_size
        if total > settings.UPLOAD_MAX_UNPACKED_BYTES:
            raise LoadRefused(_too_large(member.filename))


def _find_problem(member: zipfile.ZipInfo) -> str | None:
    """What keeps a member from being unpacked. ``orig_filename`` is what the zip says, before zipfile made it tame."""
    name = member.orig_filename
    mode = member.external_attr >> 16
    if ".." in name.replace("\\", "/").split("/"):
        return "leads out of its folder"
    if name.startswith(("/", "\\")) or name[1:2] == ":":
        return "is an absolute path"
    if "/" in name or "\\" in name:
        return "is in a folder of the zip. Expected the tables at the top: zip the files themselves, not their folder"
    if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
        return "is a link, or no file at all"
    if member.flag_bits & 0x1:
        return "is encrypted. Expected a zip without a password"
    if name not in NAMES:
        return _unknown_name()
    if member.compress_type not in COMPRESSIONS:
        return "is compressed in a way that is not read here. Expected the usual one, deflate"
    if member.file_size > SMALL_BYTES and member.file_size > MAX_RATIO * member.compress_size:
        return f"would grow to more than {MAX_RATIO} times its size, which no table does"
    return None


def _measure(path: Path, limit: int, progress: Progress) -> int:
    """Bytes of a table once it is read; of a gzip no more than a chunk beyond ``limit``."""
    if path.name.endswith(".gz"):
        size = 0
        with gzip.open(path) as file:
            while size <= limit and (chunk := file.read(CHUNK_BYTES)):
                progress.report(f"Measuring {path.name}")
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
        raise LoadRefused(f"{path.name} cannot be read. Expected a Parquet file: {str(error)[:300]}") from error
    groups = (contents.row_group(number).total_byte_size for number in range(contents.num_row_groups))
    return max(size, sum(groups), contents.num_rows * contents.num_columns * VALUE_BYTES)


def _too_large(name: str) -> str:
    limit = filesizeformat(settings.UPLOAD_MAX_UNPACKED_BYTES)
    return f"Unpacked, the tables up to {name} are larger than {limit}, the most that is read here."


def _unknown_name() -> str:
    tables = ", ".join(table.name for table in TABLES)
    return f"is not a table of a shop export. Expected one of {tables}, followed by {', '.join(SUFFIXES)}"
