"""An algorithm that is quick to prepare, and whose scores have digits to the last place."""

from typing import ClassVar

import numpy as np
import polars as pl

from tests.services.small_shop import TimesBought


class FadingTaste(TimesBought):
    """The oftener a shopper bought what the coupon is for, the likelier, and less so each time."""

    name: ClassVar[str] = "fading_taste"

    def score(self, inputs: pl.DataFrame) -> np.ndarray:
        return 0.9 - 0.83 / np.sqrt(1.7 + inputs["times"].to_numpy().astype(np.float64))
