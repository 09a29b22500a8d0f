"""What the stages of a benchmark took, written down one by one: one of many hours need not be measured at once."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self


class CannotGoOn(ValueError):
    """What a folder holds is not of this benchmark, or a stage of it was cut short."""


@dataclass(frozen=True)
class Measured:
    """What a stage took: seconds by the clock and of CPU, the most memory of any of its processes in bytes, and what it
    tells of itself. The CPU of the database's own processes is not counted."""

    wall: float
    cpu: float
    memory: int
    figures: dict[str, float]


@dataclass
class MeasuredStages:
    """The stages that were measured, of a benchmark of one size in one folder.

    A stage leaves its work in the folder and the database. What was cut short is in neither as the stage would find or
    leave it, and would take less when done again: nothing goes on from there.

    Attributes:
        folder: of the shop's files, and of ``measured.json``.
        described: the size, the machine and the kind of database, which stay the same.
        stages: what each took, by name, in the order in which they were measured.
        begun: the stage that is under way.
    """

    folder: Path
    described: Mapping[str, Any]
    stages: dict[str, Measured]
    begun: str | None = None

    @classmethod
    def open(cls, folder: Path, described: Mapping[str, Any]) -> Self:
        """What was measured there so far; nothing in a folder that is new.

        Raises:
            CannotGoOn: it is of another benchmark, or of none at all, or a stage was cut short.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "measured.json"
        if not path.is_file():
            if any(folder.iterdir()):
                raise CannotGoOn(f"{folder} holds files but no {path.name}; expected an empty folder.")
            return cls(folder, described, {})
        kept = json.loads(path.read_text())
        for name, value in described.items():
            if kept["described"].get(name) != value:
                raise CannotGoOn(
                    f"{path} is of a benchmark with {name} {kept['described'].get(name)!r}, not {value!r}."
                )
        if kept["begun"] is not None:
            raise CannotGoOn(
                f"Stage {kept['begun']} was cut short: what it left cannot be measured. Begin again with an empty "
                f"database, and without {folder}."
            )
        return cls(folder, described, {name: Measured(**stage) for name, stage in kept["stages"].items()})

    def begin(self, stage: str) -> None:
        """A stage is under way."""
        self.begun = stage
        self._write()

    def end(self, stage: str, measured: Measured) -> None:
        """The stage is done."""
        self.begun = None
        self.stages[stage] = measured
        self._write()

    def _write(self) -> None:
        stages = {name: asdict(stage) for name, stage in self.stages.items()}
        whole = {"described": dict(self.described), "stages": stages, "begun": self.begun}
        fresh = self.folder / "measured.json.new"
        fresh.write_text(json.dumps(whole, indent=1) + "\n")
        fresh.replace(self.folder / "measured.json")
