"""The site's own settings, with the bare view among its addresses."""

from couponsite.settings import *  # noqa: F403

ROOT_URLCONF = "tests.load.bare_site"
