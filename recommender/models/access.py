"""Who may call the API."""

from datetime import datetime

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class Scope(models.TextChoices):
    """What a key opens. Each address of the API asks for one."""

    READ_RECOMMENDATIONS = "recommendations:read", _("read what shoppers are offered")
    WRITE_EVENTS = "events:write", _("tell what shoppers did")
    WRITE_ORDERS = "orders:write", _("bring orders in")
    CHECKOUT = "checkout", _("use coupons at the checkout")
    CODES = "codes", _("work with coupon codes")
    READ_SEGMENTS = "segments:read", _("read segments and who belongs to them")
    ISSUE_TOKENS = "tokens:issue", _("issue shoppers' tokens")


def every_scope() -> list[str]:
    return list(Scope.values)


def validate_scopes(scopes: object) -> None:
    """Refuse what is no list of scopes, an empty one, and one with a scope that is not known or stands twice."""
    if not isinstance(scopes, list) or not scopes:
        raise ValidationError(_("A key needs at least one scope."))
    for scope in scopes:
        if scope not in Scope.values:
            raise ValidationError(
                _("%(scope)s is no scope. Expected some of %(known)s."),
                params={"scope": scope, "known": ", ".join(Scope.values)},
            )
    if len(set(scopes)) != len(scopes):
        raise ValidationError(_("A scope is named once."))


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def usable(self) -> "ApiKeyQuerySet":
        return self.filter(revoked_at__isnull=True)

    def of_digest(self, digest: str, moment: datetime) -> "ApiKeyQuerySet":
        """The key with this digest, or that had it before it was rotated and may still be called by it."""
        return self.filter(Q(digest=digest) | Q(previous_digest=digest, previous_until__gt=moment))


class ApiKey(models.Model):
    """A key of a shop's system. Only the SHA-256 digest of its 256 random bits is kept, so it can be shown only
    once.

    When it is rotated it gets a new secret, and ``previous_digest`` is accepted until ``previous_until``.
    """

    name = models.CharField(_("name"), max_length=100)
    prefix = models.CharField(_("begins with"), max_length=16)
    digest = models.CharField(_("digest"), max_length=64, unique=True, editable=False)
    scopes = models.JSONField(
        _("scopes"), default=every_scope, validators=[validate_scopes], help_text=_("What the key opens.")
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("created by"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    previous_digest = models.CharField(
        _("digest before"), max_length=64, unique=True, null=True, blank=True, editable=False
    )
    previous_until = models.DateTimeField(
        _("former secret until"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("Until then the secret that it had before it was rotated opens the API too."),
    )
    last_used_at = models.DateTimeField(
        _("last used"), null=True, blank=True, editable=False, help_text=_("To the minute.")
    )
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(previous_digest__isnull=True, previous_until__isnull=True)
                | Q(previous_digest__isnull=False, previous_until__isnull=False),
                name="api_key_former_secret_has_an_end",
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class TokenSignerQuerySet(models.QuerySet["TokenSigner"]):
    def usable(self) -> "TokenSignerQuerySet":
        return self.filter(revoked_at__isnull=True)


class TokenSigner(models.Model):
    """With what the shop signs tokens of its shoppers by itself: a secret that it shares with this site, or keys of
    which this site knows the public half.

    The shared secret has to be read to check a signature, so it is kept encrypted rather than as a digest.
    """

    class Kind(models.TextChoices):
        SECRET = "secret", _("a shared secret (HS256)")
        KEY_SET_ADDRESS = "key_set_address", _("public keys at an address (RS256, ES256)")
        KEY_SET = "key_set", _("public keys, pasted (RS256, ES256)")

    name = models.CharField(_("name"), max_length=100)
    kind = models.CharField(_("kind"), max_length=16, choices=Kind.choices)
    issuer = models.CharField(
        _("issuer"),
        max_length=200,
        blank=True,
        help_text=_("The “iss” that its tokens must carry. Empty: they need none."),
    )
    sealed_secret = models.TextField(_("encrypted secret"), blank=True, editable=False)
    key_set_address = models.URLField(
        _("address of the keys"),
        max_length=500,
        blank=True,
        help_text=_("Where the JSON Web Key Set lies: https, public, without a redirect."),
    )
    key_set = models.JSONField(
        _("keys"), null=True, blank=True, help_text=_("A JSON Web Key Set: public RSA and EC (P-256) keys.")
    )
    fetched_key_set = models.TextField(_("fetched keys"), blank=True, editable=False)
    fetched_at = models.DateTimeField(_("keys fetched"), null=True, blank=True, editable=False)
    asked_at = models.DateTimeField(
        _("keys asked for"), null=True, blank=True, editable=False, help_text=_("Whether or not there was an answer.")
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("created by"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)

    objects = TokenSignerQuerySet.as_manager()

    class Meta:
        verbose_name = _("signer of shoppers' tokens")
        verbose_name_plural = _("signers of shoppers' tokens")
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(
                condition=(Q(kind="secret", key_set_address="", key_set__isnull=True) & ~Q(sealed_secret=""))
                | (Q(kind="key_set_address", sealed_secret="", key_set__isnull=True) & ~Q(key_set_address=""))
                | Q(kind="key_set", sealed_secret="", key_set_address="", key_set__isnull=False),
                name="token_signer_is_of_its_kind",
            )
        ]

    def __str__(self) -> str:
        return self.name
