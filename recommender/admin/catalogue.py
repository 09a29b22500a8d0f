"""The things on sale."""

from django.contrib import admin

from recommender.admin.base import TableAdmin
from recommender.admin.spreadsheets import SpreadsheetAdmin
from recommender.models import Category, Product
from recommender.services.spreadsheets.products import ProductResource


@admin.register(Category)
class CategoryAdmin(TableAdmin):
    list_display = ("path", "parent")
    list_select_related = ("parent",)
    search_fields = ("path",)
    autocomplete_fields = ("parent",)
    ordering = ("path",)


@admin.register(Product)
class ProductAdmin(SpreadsheetAdmin):
    resource_classes = (ProductResource,)
    list_display = ("product_id", "name", "category", "brand", "price", "active")
    list_select_related = ("category",)
    list_filter = ("active",)
    search_fields = ("product_id__startswith", "name", "brand__startswith")
    autocomplete_fields = ("category",)
