"""What purchases say of products never bought, by hand."""

import numpy as np
import pytest
from scipy import sparse

from recommender.ml import tastes
from recommender.ml.tastes import MOST_TAUGHT_BY, NOT_KNOWN, Associations, LatentTastes, taught_by

#: Eight shoppers of two kinds and six products: three for each kind, of which each shopper has bought two. The last
#: shopper has bought nothing.
BOUGHT = sparse.csr_matrix(
    np.array(
        [
            [3, 3, 0, 0, 0, 0],
            [3, 0, 3, 0, 0, 0],
            [0, 3, 3, 0, 0, 0],
            [2, 2, 2, 0, 0, 0],
            [0, 0, 0, 3, 3, 0],
            [0, 0, 0, 3, 0, 3],
            [0, 0, 0, 0, 3, 3],
            [0, 0, 0, 2, 2, 2],
            [0, 0, 0, 0, 0, 0],
        ],
        dtype=float,
    )
)
#: A coupon for each product, and one for what nobody bought.
MEMBERS = sparse.csr_matrix(np.hstack([np.eye(6), np.zeros((6, 1))]))


@pytest.fixture(scope="module")
def latent() -> np.ndarray:
    sold = np.asarray(BOUGHT.sum(axis=0)).ravel()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tastes, "DIRECTIONS", 2)  # as many as there are kinds of shoppers
        return LatentTastes(BOUGHT, sold, MEMBERS).of_shoppers(BOUGHT)


def test_a_shopper_is_near_to_what_those_alike_buy(latent: np.ndarray) -> None:
    """The first never bought product 2, which those with the same taste did, and none of the other kind's products."""
    assert latent[0, 2] > NOT_KNOWN + 0.3
    assert latent[0, 3:6] == pytest.approx(NOT_KNOWN, abs=0.01)
    assert (latent[:4, :3].min() > latent[:4, 3:6].max()) and (latent[4:8, 3:6].min() > latent[4:8, :3].max())


def test_nothing_is_known_of_an_empty_history_or_a_product_nobody_bought(latent: np.ndarray) -> None:
    assert latent[8] == pytest.approx(NOT_KNOWN)
    assert latent[:, 6] == pytest.approx(NOT_KNOWN)


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_shoppers_have_no_tastes_in_common(rows: int) -> None:
    few = BOUGHT[:rows]
    assert (LatentTastes(few, np.ones(6), MEMBERS).of_shoppers(BOUGHT) == NOT_KNOWN).all()


def test_what_few_bought_tells_nothing() -> None:
    """Two shoppers who share an odd product are not alike by that."""
    odd = sparse.csr_matrix(np.array([[1.0], [1.0], *[[0.0]] * 7]))
    with_odd = sparse.hstack([BOUGHT, odd]).tocsr()
    members = sparse.vstack([MEMBERS, sparse.csr_matrix((1, 7))]).tocsr()

    known = LatentTastes(with_odd, np.ones(7), members).of_shoppers(with_odd)

    assert known == pytest.approx(LatentTastes(BOUGHT, np.ones(6), MEMBERS).of_shoppers(BOUGHT))


def test_associations_are_the_ridge_regression_of_each_category_on_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """EASE's closed form is the ridge regression of each column on all others: solved here one by one."""
    monkeypatch.setattr(tastes, "PENALTY", 2.0)
    shares = sparse.csr_matrix(np.array([[1.0, 0.0], [0.0, 0.5], [0.0, 0.5], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]))

    found = Associations(BOUGHT, shares).of_shoppers(BOUGHT)

    logarithms = np.log1p(BOUGHT.toarray())
    predicted = np.zeros((9, 6))
    for target in range(6):
        others = [column for column in range(6) if column != target]
        X = logarithms[:, others]
        weights = np.linalg.solve(X.T @ X + 2.0 * np.eye(5), X.T @ logarithms[:, target])
        predicted[:, target] = X @ weights
    assert found == pytest.approx(NOT_KNOWN + predicted @ shares.toarray())
    assert found[0, 1] > found[4, 1]  # the first buys of the first kind, the fifth of the other


def test_own_purchases_alone_are_no_association() -> None:
    """Somebody who buys from one category only that nobody combines with another is told nothing of it."""
    alone = sparse.csr_matrix(np.diag([5.0, 5.0, 5.0, 0.0]).repeat(3, axis=0))
    associations = Associations(alone, sparse.eye(4, format="csr"))
    assert associations.of_shoppers(alone) == pytest.approx(NOT_KNOWN)


def test_no_categories_and_nobody_to_learn_from() -> None:
    none = Associations(sparse.csr_matrix((9, 0)), sparse.csr_matrix((0, 3)))
    assert none.of_shoppers(sparse.csr_matrix((2, 0))).tolist() == [[NOT_KNOWN] * 3] * 2
    nobody = Associations(sparse.csr_matrix((0, 6)), MEMBERS)
    assert (nobody.of_shoppers(BOUGHT) == NOT_KNOWN).all()


def test_only_the_categories_most_bought_from_are_associated(monkeypatch: pytest.MonkeyPatch) -> None:
    more = sparse.csr_matrix(BOUGHT.toarray() + np.array([1, 1, 0, 0, 0, 0]))
    monkeypatch.setattr(tastes, "MOST_CATEGORIES", 2)

    found = Associations(more, sparse.eye(6, format="csr")).of_shoppers(more)

    assert (found[:, :2] > NOT_KNOWN).all() and (found[:, 2:] == NOT_KNOWN).all()


def test_who_is_learned_from() -> None:
    assert taught_by(7).tolist() == list(range(7))
    many = taught_by(10 * MOST_TAUGHT_BY)
    assert len(np.unique(many)) == MOST_TAUGHT_BY and (many[0], many[-1]) == (0, 10 * MOST_TAUGHT_BY - 1)
