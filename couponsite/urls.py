"""The site's addresses: staff under ``/``'s admin, shops and shoppers under ``/api/v1/``."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

handler400 = "recommender.admin.refusals.show_unreadable"
handler403 = "recommender.admin.refusals.show_forbidden"
handler404 = "recommender.admin.refusals.show_missing"
handler500 = "recommender.admin.refusals.show_failure"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("i18n/", include("django.conf.urls.i18n")),
    path("api/v1/", include("recommender.api.urls")),
]
