from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from recommender.models import User


@pytest.fixture
def client_with(db: None) -> Callable[..., Client]:
    """Makes a client signed in as a member of staff with the permissions named, each as ``view_run``."""

    def make(*codenames: str) -> Client:
        user = User.objects.create(username=f"staff with {codenames}"[:150], is_staff=True)
        permissions = Permission.objects.filter(codename__in=codenames, content_type__app_label="recommender")
        assert permissions.count() == len(codenames)
        user.user_permissions.set(permissions)
        client = Client()
        client.force_login(user)
        return client

    return make
