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
    review,
    runs,
    schedule,
    search,
    shop,
    shoppers,
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
    "review",
    "runs",
    "schedule",
    "search",
    "shop",
    "shoppers",
]
