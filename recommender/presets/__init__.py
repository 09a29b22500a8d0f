"""Sample shops, reached by name. A sample writes a shop export, which comes in by the same door as any other."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib import import_module
from pathlib import Path

from recommender.progress import Progress


@dataclass(frozen=True)
class Sample:
    """A shop whose history comes with an installed package.

    Attributes:
        module: has ``write_export(*, folder, shift_to, progress)``, and is imported only when it is called.
        last_order_id: the order that ends its history, by which a shop that holds the sample is known.
    """

    shop_name: str
    time_zone: str
    currency: str
    module: str
    last_order_id: str

    def write_export(
        self, *, folder: Path, shift_to: date | None = None, progress: Progress = Progress()
    ) -> Mapping[str, int]:
        """Write the sample as a shop export into an empty folder.

        Args:
            folder: takes the files.
            shift_to: the local day on which the last order shall fall. All times move by the same number of whole days
                of the shop's calendar; without it they stay.

        Returns:
            What was decided about the source's rows: a phrase and the number of rows it is true of.
        """
        return import_module(self.module).write_export(folder=folder, shift_to=shift_to, progress=progress)


SAMPLES: Mapping[str, Sample] = {
    "complete-journey": Sample(
        shop_name="The Complete Journey",
        time_zone="America/New_York",
        currency="USD",
        module="recommender.presets.complete_journey",
        last_order_id="41453083334",
    )
}
