"""Products as a spreadsheet."""

from django.db.models import QuerySet
from import_export.fields import Field

from recommender.models import Product
from recommender.services.spreadsheets.resources import SpreadsheetResource
from recommender.services.spreadsheets.widgets import CategoryWidget


class ProductResource(SpreadsheetResource):
    """Attributes of the shop's own are not in the sheet, and stay as they are."""

    identifier = "product_id"
    category = Field("category", "category", CategoryWidget())

    class Meta(SpreadsheetResource.Meta):
        model = Product
        import_id_fields = ("product_id",)
        fields = ("product_id", "name", "category", "brand", "price", "cost", "rating", "seller_id", "active")
        widgets = {"active": {"empty": True}}

    def get_queryset(self) -> QuerySet[Product]:
        return super().get_queryset().select_related("category")
