"""What a load did, in a form that a job can keep: ``asdict`` makes JSON values of it."""

from dataclasses import dataclass, field


class LoadRefused(ValueError):
    """The export is not fit to be loaded, and nothing was changed. The message says what is wrong and where."""


@dataclass(frozen=True)
class RejectedRow:
    """A row that was put aside: ``line`` is its line in a CSV file, its row, from 1, in a Parquet file."""

    file: str
    line: int
    column: str
    reason: str


@dataclass
class FileReport:
    """The rows of one file. ``removed`` rows were stored for an order or coupon of the file and are not in it now."""

    file: str
    rows: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    put_aside: int = 0
    left_out_columns: list[str] = field(default_factory=list)


@dataclass
class LoadReport:
    """What a load did, or in a dry run would do.

    ``put_aside_path`` is the file of the rows put aside, if there are any and this was no dry run; ``examples`` are the
    first of them.
    """

    folder: str
    dry_run: bool
    files: list[FileReport]
    examples: list[RejectedRow]
    ignored_files: list[str]
    put_aside_path: str | None
    seconds: float

    @property
    def written(self) -> int:
        """Rows that were, or would be, written."""
        return sum(file.new + file.changed + file.removed for file in self.files)
