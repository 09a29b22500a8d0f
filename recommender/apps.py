from django.apps import AppConfig
from django.db.backends.signals import connection_created

from couponsite.database import tell_server_to_notice


class RecommenderConfig(AppConfig):
    name = "recommender"
    verbose_name = "Couponsite"

    def ready(self) -> None:
        from couponsite import checks  # noqa: F401 - registers them

        connection_created.connect(tell_server_to_notice)
