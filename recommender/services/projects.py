"""A finished project's things are not offered.

Whoever bought of the last stage of a project has finished it, until they buy of its first stage again. A coupon for
nothing but things of projects is kept from those who have finished all of these. Lists are made by this rule, and
whoever serves them asks again: what was bought since may have finished a project.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from django.db.models import Q

from recommender.models import CATEGORY_SEPARATOR, OrderLine, Product, ProjectStage
from recommender.services.coupon_targets import Target, groups_of, products_of, read_targets


class OfProjects:
    """Which of some coupons are for projects alone, and whether shoppers have finished them.

    Args:
        coupons: primary keys.
        shoppers: likewise.
        at: what was bought up to this moment counts.
    """

    def __init__(self, coupons: Iterable[int], shoppers: Iterable[int], at: datetime) -> None:
        self._stages = _Stages()
        #: By coupon that is for nothing but things of projects, these projects.
        self._projects = self._find_projects(set(coupons))
        self._finished: dict[int, set[str]] = defaultdict(set)
        if self._projects:
            self._read_progress(set.union(*self._projects.values()), set(shoppers), at)

    def may_have(self, coupon: int, shopper: int | None) -> bool:
        """Whether a shopper may be offered a coupon; None stands for somebody whom the shop does not know."""
        projects = self._projects.get(coupon)
        return projects is None or shopper is None or not projects <= self._finished.get(shopper, set())

    def _find_projects(self, coupons: set[int]) -> dict[int, set[str]]:
        targets = read_targets(coupons)
        named = Product.objects.filter(pk__in=products_of(targets.values()))
        of_products = {
            product: set(self._stages.places(product, path))
            for product, path in named.values_list("pk", "category__path")
        }
        of_groups = {group: self._projects_of_group(group) for group in groups_of(targets.values())}
        found: dict[int, set[str]] = {}
        for coupon, of_coupon in targets.items():
            projects = [
                of_groups[target] if target.product is None else of_products[target.product] for target in of_coupon
            ]
            of_none = [of is not None and not of for of in projects]  # None: a group without products
            if not any(of_none) and (together := {project for of in projects for project in of or ()}):
                found[coupon] = together
        return found

    def _projects_of_group(self, group: Target) -> set[str] | None:
        """The projects of a group's products; none where any of these is of none, None where there is no product."""
        products = group.products()
        by_itself = products.filter(pk__in=self._stages.products).values_list("pk", "category__path")
        others = products.exclude(pk__in=self._stages.products).values_list("category__path", flat=True).distinct()
        found = [set(self._stages.places(product, path)) for product, path in by_itself]
        found += [set(self._stages.places(None, path)) for path in others]
        if not found:
            return None
        return set.union(*found) if all(found) else set()

    def _read_progress(self, projects: set[str], shoppers: set[int], at: datetime) -> None:
        lines = OrderLine.objects.filter(
            self._stages.needed_by(projects), order__shopper__in=shoppers, order__ordered_at__lte=at, quantity__gt=0
        )
        begun: dict[tuple[int, str], datetime] = {}
        ended: dict[tuple[int, str], datetime] = {}
        for shopper, ordered_at, product, path in lines.values_list(
            "order__shopper_id", "order__ordered_at", "product_id", "product__category__path"
        ):
            for project, position in self._stages.places(product, path).items():
                first, last = self._stages.ends[project]
                for found, end in ((begun, first), (ended, last)):
                    if position == end:
                        found[shopper, project] = max(ordered_at, found.get((shopper, project), ordered_at))
        for (shopper, project), ended_at in ended.items():
            if begun.get((shopper, project), ended_at) <= ended_at:
                self._finished[shopper].add(project)


class _Stages:
    """All stages of all projects: few rows."""

    def __init__(self) -> None:
        self._rows = list(
            ProjectStage.objects.values_list("project", "position", "product_id", "category__path").order_by("pk")
        )
        self.products = {product for _project, _position, product, _path in self._rows if product is not None}
        positions: dict[str, list[int]] = defaultdict(list)
        for project, position, _product, _path in self._rows:
            positions[project].append(position)
        #: By project, the positions of its first and its last stage.
        self.ends = {project: (min(of_project), max(of_project)) for project, of_project in positions.items()}

    def places(self, product: int | None, path: str | None) -> dict[str, int]:
        """By project, the position of the stage that a product of a category is of; of two the later one."""
        found: dict[str, int] = {}
        for project, position, of_product, of_path in self._rows:
            if of_path is None:
                is_of = product is not None and product == of_product
            else:
                is_of = path is not None and f"{path}{CATEGORY_SEPARATOR}".startswith(f"{of_path}{CATEGORY_SEPARATOR}")
            if is_of:
                found[project] = max(position, found.get(project, position))
        return found

    def needed_by(self, projects: set[str]) -> Q:
        """Order lines of what some projects need."""
        needed = Q(pk__in=())
        for project, _position, product, path in self._rows:
            if project in projects:
                below = Q(product__category__path__startswith=f"{path}{CATEGORY_SEPARATOR}")
                needed |= Q(product=product) if path is None else Q(product__category__path=path) | below
        return needed
