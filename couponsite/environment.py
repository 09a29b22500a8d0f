"""What the environment says, parsed once into one typed object.

Every variable that the site reads is a field of :class:`Environment`; ``.env.example`` lists them with their defaults.
A value that cannot be read raises :class:`django.core.exceptions.ImproperlyConfigured` naming every wrong variable.
"""

import contextlib
import hashlib
import ipaddress
import os
import secrets
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlparse

from django.core.exceptions import ImproperlyConfigured
from environs import Env, EnvValidationError
from marshmallow import ValidationError, validate

BASE_DIR = Path(__file__).resolve().parent.parent

DATABASE_ENGINES = {"django.db.backends.sqlite3", "django.db.backends.postgresql"}
REDIS_SCHEMES = ("redis", "rediss", "redis+socket")
#: A connection to PostgreSQL is kept so long: one that is new plans all that it is asked anew.
CONNECTION_SECONDS = 600


@dataclass(frozen=True)
class Environment:
    """The settings of one installation."""

    data_dir: Path
    static_root: Path
    secret_key: str
    debug: bool
    allowed_hosts: list[str]
    csrf_trusted_origins: list[str]
    database: dict[str, object]
    redis_url: str
    language_code: str
    worker_concurrency: int
    import_dir: Path
    upload_max_megabytes: int
    upload_max_unpacked_megabytes: int
    upload_retention_days: int
    event_retention_days: int
    run_retention_days: int
    snapshot_retention_days: int
    training_pairs: int
    key_requests_per_minute: int
    shopper_requests_per_minute: int
    shopper_page_origins: list[str]
    outbound_private_hosts: list[str]
    log_level: str
    log_format: str
    metrics_token: str
    secret_key_is_given: bool
    https: bool
    hsts_seconds: int
    trusted_proxies: list[str]
    sentry_dsn: str
    data_dir_is_shared: bool
    s3_bucket: str
    s3_endpoint_url: str
    s3_region: str

    @property
    def broker_is_embedded(self) -> bool:
        """Whether the site's own broker, on a socket that only its user can open, serves instead of a Redis."""
        return self.redis_url == embedded_broker_url(self.data_dir)

    @property
    def redis_client_url(self) -> str:
        """The broker's address as clients of Redis, which know nothing of Celery's schemes, read it."""
        return self.redis_url.replace("redis+socket://", "unix://")


def embedded_broker_socket(data_dir: Path) -> Path:
    """Where the embedded broker of the installation in ``data_dir`` listens.

    A Unix socket's path holds at most 107 bytes, so the name is a digest in the system's temporary folder.
    """
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"couponsite-{os.getuid()}-{digest}" / "broker.sock"


def embedded_broker_url(data_dir: Path) -> str:
    return f"redis+socket://{embedded_broker_socket(data_dir)}"


def read_environment(base_dir: Path = BASE_DIR) -> Environment:  # noqa: PLR0915  # a line for each variable
    """Read the process's environment, and ``.env`` in ``base_dir`` for what it lacks.

    Raises:
        ImproperlyConfigured: a variable cannot be read; the message names each, its value and what was expected.
    """
    env = Env(eager=False)
    env.read_env(base_dir / ".env", recurse=False)
    data_dir = (base_dir / (env.str("DATA_DIR", "data") or "data")).resolve()
    debug = env.bool("DEBUG", False)
    allowed_hosts = env.list("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
    csrf_trusted_origins: list[str] = env.list("CSRF_TRUSTED_ORIGINS", [])
    database = env.dj_db_url(
        "DATABASE_URL", f"sqlite:///{data_dir}/couponsite.sqlite3", conn_max_age=CONNECTION_SECONDS
    )
    redis_url = env.str("REDIS_URL", "")
    language_code = env.str("LANGUAGE_CODE", "en", validate=validate.OneOf(["en", "zh-hans"]))
    worker_concurrency = env.int("WORKER_CONCURRENCY", 2, validate=validate.Range(min=1))
    import_dir = base_dir / (env.str("IMPORT_DIR", "") or data_dir / "imports")
    upload_max_megabytes = env.int("UPLOAD_MAX_MEGABYTES", 2048, validate=validate.Range(min=1))
    upload_max_unpacked_megabytes = env.int("UPLOAD_MAX_UNPACKED_MEGABYTES", 16_384, validate=validate.Range(min=1))
    upload_retention_days = env.int("UPLOAD_RETENTION_DAYS", 30, validate=validate.Range(min=1))
    event_retention_days = env.int("EVENT_RETENTION_DAYS", 0, validate=validate.Range(min=0))
    run_retention_days = env.int("RUN_RETENTION_DAYS", 180, validate=validate.Range(min=0))
    snapshot_retention_days = env.int("SNAPSHOT_RETENTION_DAYS", 60, validate=validate.Range(min=0))
    training_pairs = env.int("TRAINING_PAIRS", 1_000_000, validate=validate.Range(min=1000))
    key_requests_per_minute = env.int("KEY_REQUESTS_PER_MINUTE", 60_000, validate=validate.Range(min=0))
    shopper_requests_per_minute = env.int("SHOPPER_REQUESTS_PER_MINUTE", 120, validate=validate.Range(min=0))
    shopper_page_origins: list[str] = env.list("SHOPPER_PAGE_ORIGINS", [], validate=_are_origins)
    outbound_private_hosts: list[str] = env.list("OUTBOUND_PRIVATE_HOSTS", [])
    log_level = env.str("LOG_LEVEL", "INFO", validate=validate.OneOf(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]))
    log_format = env.str("LOG_FORMAT", "text", validate=validate.OneOf(["text", "json"]))
    metrics_token = env.str("METRICS_TOKEN", "")
    static_root = env.str("STATIC_ROOT", "") or data_dir / "static"
    https = env.bool("HTTPS", False)
    hsts_seconds = env.int("HSTS_SECONDS", 31_536_000, validate=validate.Range(min=0))
    trusted_proxies: list[str] = env.list("TRUSTED_PROXIES", ["127.0.0.1", "::1"])
    sentry_dsn = env.str("SENTRY_DSN", "")
    data_dir_is_shared = env.bool("SHARED_DATA_DIR", False)
    s3_bucket = env.str("S3_BUCKET", "")
    s3_endpoint_url = env.str("S3_ENDPOINT_URL", "")
    s3_region = env.str("S3_REGION", "")
    secret_key = env.str("SECRET_KEY", "")
    try:
        env.seal()
    except EnvValidationError as error:
        wrong: dict[str, list[str]] = dict(error.error_messages)  # type: ignore[arg-type]  # sealed: always a mapping
        told = "; ".join(f"{name}: {' '.join(map(str, messages))}" for name, messages in wrong.items())
        raise ImproperlyConfigured(f"The environment cannot be read. {told}") from error

    _refuse_lone_bucket(s3_bucket)
    _refuse_wrong_networks(trusted_proxies)
    if database["ENGINE"] not in DATABASE_ENGINES:
        raise ImproperlyConfigured("DATABASE_URL: expected an address that starts with postgres:// or sqlite://.")
    if redis_url and urlparse(redis_url).scheme not in REDIS_SCHEMES:
        expected = ", ".join(f"{scheme}://" for scheme in REDIS_SCHEMES)
        raise ImproperlyConfigured(f"REDIS_URL: expected an address that starts with one of {expected}.")
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(f"DATA_DIR: the folder {data_dir} cannot be made: {error.strerror}.") from error
    return Environment(
        data_dir=data_dir,
        static_root=(base_dir / static_root).resolve(),
        secret_key=secret_key or _installation_secret(data_dir),
        debug=debug,
        allowed_hosts=allowed_hosts,
        csrf_trusted_origins=csrf_trusted_origins,
        database=dict(database),
        redis_url=redis_url or embedded_broker_url(data_dir),
        language_code=language_code,
        worker_concurrency=worker_concurrency,
        import_dir=import_dir.resolve(),
        upload_max_megabytes=upload_max_megabytes,
        upload_max_unpacked_megabytes=upload_max_unpacked_megabytes,
        upload_retention_days=upload_retention_days,
        event_retention_days=event_retention_days,
        run_retention_days=run_retention_days,
        snapshot_retention_days=snapshot_retention_days,
        training_pairs=training_pairs,
        key_requests_per_minute=key_requests_per_minute,
        shopper_requests_per_minute=shopper_requests_per_minute,
        shopper_page_origins=shopper_page_origins,
        outbound_private_hosts=outbound_private_hosts,
        log_level=log_level,
        log_format=log_format,
        metrics_token=metrics_token,
        secret_key_is_given=bool(secret_key),
        https=https,
        hsts_seconds=hsts_seconds,
        trusted_proxies=trusted_proxies,
        sentry_dsn=sentry_dsn,
        data_dir_is_shared=data_dir_is_shared,
        s3_bucket=s3_bucket,
        s3_endpoint_url=s3_endpoint_url,
        s3_region=s3_region,
    )


def _are_origins(texts: list[str]) -> None:
    """Each is a scheme and a host, as browsers name the site of a page: nothing else would ever be the same."""
    for text in texts:
        parts = urlparse(text)
        if parts.scheme not in {"https", "http"} or text != f"{parts.scheme}://{parts.netloc}" or not parts.hostname:
            raise ValidationError(f"“{text}”: expected an origin such as https://shop.example.com.")


def _refuse_lone_bucket(s3_bucket: str) -> None:
    if s3_bucket and find_spec("storages") is None:
        raise ImproperlyConfigured(
            "S3_BUCKET: the library is not installed. Run first: pip install -r requirements-s3.txt"
        )


def _refuse_wrong_networks(trusted_proxies: list[str]) -> None:
    for proxy in trusted_proxies:
        try:
            ipaddress.ip_network(proxy)
        except ValueError as error:
            raise ImproperlyConfigured(
                f"TRUSTED_PROXIES: expected addresses or networks such as 10.0.0.0/8, separated by commas: {error}."
            ) from error


def _installation_secret(data_dir: Path) -> str:
    """The secret of an installation that was given none: made once, readable by its user alone."""
    path = data_dir / "secret-key"
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=data_dir, prefix="secret-key-") as file:  # made with mode 0600
            file.write(secrets.token_urlsafe(50))
            file.flush()
            with contextlib.suppress(FileExistsError):  # another process was first: its secret counts
                os.link(file.name, path)
    return path.read_text()
