from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from recommender.models import User


@pytest.fixture
def client_with(db: None) -> Callable[..., Client]:
    """Makes a client signed in as a member of staff with the permissions named, each as ``view_run``; those of other
    apps as ``admin.view_logentry``."""

    def make(*codenames: str) -> Client:
        user = User.objects.create(username=f"staff with {codenames}"[:150], is_staff=True)
        for name in codenames:
            app_label, _separator, codename = name.rpartition(".")
            user.user_permissions.add(
                Permission.objects.get(codename=codename, content_type__app_label=app_label or "recommender")
            )
        client = Client()
        client.force_login(user)
        return client

    return make
