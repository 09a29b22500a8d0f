"""The staff's face: read the request, call one service, show the result."""

from recommender.admin import (
    access,
    campaigns,
    catalogue,
    coupons,
    feedback,
    jobs,
    learning,
    orders,
    publications,
    recommendations,
    runs,
    schedule,
    search,
    shop,
    shoppers,
    uploads,
)

__all__ = [
    "access",
    "campaigns",
    "catalogue",
    "coupons",
    "feedback",
    "jobs",
    "learning",
    "orders",
    "publications",
    "recommendations",
    "runs",
    "schedule",
    "search",
    "shop",
    "shoppers",
    "uploads",
]
