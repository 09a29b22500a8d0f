"""Intervals that hold at all looks together, so that looking early, and often, is safe.

The asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024, *Time-uniform central limit
theory and asymptotic confidence sequences*, Annals of Statistics 52(6), Theorem 2.2), which is Robbins' (1970) normal
mixture with an estimated variance. There, of t observations with standard deviation σ and a tuning constant ρ,

    radius = σ √( 2 (t ρ² + 1) / (t² ρ²) · ln( √(t ρ² + 1) / α ) ).

With the standard error s = σ / √t and m = t ρ² it is s √( (1 + 1/m) · ln( (1 + m) / α² ) ). ρ is chosen, as in their
appendix, for the sequence to be about narrowest when all that was planned is in: then m = c f, where f is the share
that is in, and c = -2 ln α + ln(1 - 2 ln α).
"""

import numpy as np

from recommender.ml.incrementality.effects import CONFIDENCE, Effect


def confidence_sequence(
    effect: Effect, share_seen: float, confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """Holds the true effect at all looks together in this share of campaigns. None where nothing is known.

    Args:
        effect: as it is now.
        share_seen: of what was planned: of the shoppers who were to come, or of the campaign's window, in which what a
            shopper buys adds up. Above 0; above 1 when it goes on for longer than was planned.

    Raises:
        ValueError: the share is not above 0.
    """
    if share_seen <= 0:
        raise ValueError(f"{share_seen} of what was planned was seen; expected more than 0.")
    if effect.value is None or effect.standard_error is None:
        return None
    radius = boundary(share_seen, confidence) * effect.standard_error
    return effect.value - radius, effect.value + radius


def boundary(share_seen: float, confidence: float = CONFIDENCE) -> float:
    """How many standard errors the radius has."""
    alpha = 1 - confidence
    planned = -2 * np.log(alpha) + np.log(1 - 2 * np.log(alpha))
    seen = planned * share_seen
    return float(np.sqrt((1 + 1 / seen) * np.log((1 + seen) / alpha**2)))
