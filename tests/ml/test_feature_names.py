"""Every feature has a name of its own that fits a box of a drawn tree."""

from recommender.ml.feature_names import NAMES
from recommender.ml.features import FEATURES

LONGEST = 36  # letters in a box


def test_every_feature_has_a_name_of_its_own_that_is_short() -> None:
    assert list(NAMES) == FEATURES
    assert len(set(NAMES.values())) == len(FEATURES)
    assert [name for name in NAMES.values() if len(name) > LONGEST or "_" in name] == []
