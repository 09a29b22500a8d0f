"""The things on sale."""

from django.contrib import admin

from recommender.admin.base import TableAdmin
from recommender.models import Category, Product


@admin.register(Category)
class CategoryAdmin(TableAdmin):
    list_display = ("path", "parent")
    list_select_related = ("parent",)
    search_fields = ("path",)
    autocomplete_fields = ("parent",)
    ordering = ("path",)


@admin.register(Product)
class ProductAdmin(TableAdmin):
    list_display = ("product_id", "name", "category", "brand", "price", "active")
    list_select_related = ("category",)
    list_filter = ("active",)
    search_fields = ("product_id__startswith", "name", "brand__startswith")
    autocomplete_fields = ("category",)
