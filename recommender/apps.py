from django.apps import AppConfig


class RecommenderConfig(AppConfig):
    name = "recommender"
    verbose_name = "Couponsite"

    def ready(self) -> None:
        from couponsite import checks  # noqa: F401  # registers them
