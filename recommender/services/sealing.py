"""Secrets that have to be read again, kept so that the database alone does not give them away.

They are encrypted and authenticated by Fernet (AES-128-CBC and HMAC-SHA256) with a key derived from the site's
``SECRET_KEY``: a copy of the database, a backup or a report shows nothing without it. Secrets sealed under an earlier
key are read as long as ``SECRET_KEY_FALLBACKS`` names it.
"""

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.utils.crypto import salted_hmac

from recommender.wording import gettext as _


class SecretUnreadable(ValueError):
    """A secret was sealed under a ``SECRET_KEY`` that this site does not know (any more)."""


def seal(*, secret: str) -> str:
    return _cipher().encrypt(secret.encode()).decode()


def unseal(*, sealed: str) -> str:
    """Raises:
    SecretUnreadable: it was sealed under another key, or was changed.
    """
    try:
        return _cipher().decrypt(sealed.encode()).decode()
    except InvalidToken as error:
        raise SecretUnreadable(_("The secret was sealed under another SECRET_KEY.")) from error


def _cipher() -> MultiFernet:
    return MultiFernet([Fernet(_key(secret)) for secret in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)])


def _key(secret: str | bytes) -> bytes:
    digest = salted_hmac("recommender.services.sealing", "secrets at rest", secret=secret, algorithm="sha256").digest()
    return base64.urlsafe_b64encode(digest)
