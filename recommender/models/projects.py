"""Projects of several stages, and what each stage needs."""

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from recommender.models.catalogue import Category, Product


class ProjectStage(models.Model):
    """What a stage of a project needs: a product, or all of a category with everything below it.

    The stages of a project follow each other by ``position``. Who buys of the last one has finished the project, until
    they buy of the first one again; see :mod:`recommender.services.projects`.
    """

    project = models.CharField(_("project"), max_length=64)
    position = models.PositiveIntegerField(
        _("position"), help_text=_("Of the stage in the project. What has the same is needed at the same time.")
    )
    stage = models.CharField(_("stage"), max_length=64, blank=True, help_text=_("What the stage is called."))
    product = models.ForeignKey(
        Product, verbose_name=_("product"), null=True, blank=True, on_delete=models.CASCADE, related_name="of_stages"
    )
    category = models.ForeignKey(
        Category, verbose_name=_("category"), null=True, blank=True, on_delete=models.CASCADE, related_name="of_stages"
    )

    class Meta:
        verbose_name = _("stage of a project")
        verbose_name_plural = _("stages of projects")
        constraints = [
            models.CheckConstraint(
                condition=Q(product__isnull=False, category__isnull=True)
                | Q(product__isnull=True, category__isnull=False),
                name="project_stage_is_one_thing",
            ),
            models.UniqueConstraint(
                fields=["project", "product"], condition=Q(product__isnull=False), name="project_stage_product"
            ),
            models.UniqueConstraint(
                fields=["project", "category"], condition=Q(category__isnull=False), name="project_stage_category"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.project} {self.position} · {self.product or self.category}"

    def clean(self) -> None:
        if (self.product_id is None) == (self.category_id is None):
            raise ValidationError({"product": _("Choose a product or a category, and one only.")})
