"""Django settings. Whatever differs between installations comes from :mod:`couponsite.environment`."""

from pathlib import Path

from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _
from kombu import Queue

from couponsite.content_security import STRICT
from couponsite.database import TCP_COUNT, TCP_IDLE, TCP_INTERVAL, TCP_USER_TIMEOUT
from couponsite.environment import BASE_DIR, read_environment
from couponsite.error_reports import start_error_reports
from couponsite.logs import describe_logging

ENVIRONMENT = read_environment()

DEBUG = ENVIRONMENT.debug
SECRET_KEY = ENVIRONMENT.secret_key
ALLOWED_HOSTS = ENVIRONMENT.allowed_hosts
CSRF_TRUSTED_ORIGINS = ENVIRONMENT.csrf_trusted_origins

# Whether a request came by TLS that a proxy ended, Gunicorn tells (couponsite.web_server): it believes TRUSTED_PROXIES
# alone, where SECURE_PROXY_SSL_HEADER would have Django believe anybody.
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = ENVIRONMENT.https
SECURE_HSTS_SECONDS = ENVIRONMENT.hsts_seconds if ENVIRONMENT.https else 0
# Whether all of the domain speaks TLS, and says so for ever, is not for this site to decide.
SILENCED_SYSTEM_CHECKS = [
    "security.W005",
    "security.W021",
    "security.W003",  # couponsite.middleware has Django's own protection for all that has cookies
]
CONTENT_SECURITY_POLICY = STRICT

DATA_DIR: Path = ENVIRONMENT.data_dir

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.import_export",
    "import_export",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "recommender",
]

MIDDLEWARE = [
    "recommender.monitoring.MonitoringMiddleware",
    "couponsite.requests.RequestMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "couponsite.content_security.ContentSecurityMiddleware",
    "couponsite.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "couponsite.middleware.CsrfViewMiddleware",
    "couponsite.middleware.AuthenticationMiddleware",
    "couponsite.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "recommender.admin.refusals.SignedOutMiddleware",
    "recommender.admin.time_zone.ShopTimeZoneMiddleware",
]

ROOT_URLCONF = "couponsite.urls"
WSGI_APPLICATION = "couponsite.wsgi.application"
ASGI_APPLICATION = "couponsite.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# Storage

DATABASES = {"default": ENVIRONMENT.database}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        # A transaction that reads first and writes later would fail at once when another process writes between.
        "transaction_mode": "IMMEDIATE",
        "timeout": 30,  # seconds to wait for another process's write
        "init_command": (
            "PRAGMA journal_mode = WAL;"  # readers do not wait for the writer
            "PRAGMA synchronous = NORMAL;"  # safe in WAL
            "PRAGMA temp_store = MEMORY;"
            "PRAGMA cache_size = -65536;"  # KiB
        ),
    }
else:
    # A server or a network that vanishes without a word is noticed within half a minute, not within hours; the other
    # direction is couponsite.database's.
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 10,
        "keepalives_idle": TCP_IDLE,
        "keepalives_interval": TCP_INTERVAL,
        "keepalives_count": TCP_COUNT,
        "tcp_user_timeout": TCP_USER_TIMEOUT,
        **DATABASES["default"].get("OPTIONS", {}),  # type: ignore[dict-item]  # what DATABASE_URL asks for
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": DATA_DIR / "media"}},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
if ENVIRONMENT.s3_bucket:
    _S3 = {
        "bucket_name": ENVIRONMENT.s3_bucket,
        "endpoint_url": ENVIRONMENT.s3_endpoint_url or None,
        "region_name": ENVIRONMENT.s3_region or None,
        "querystring_auth": True,  # nothing in the bucket is for the public
    }
    STORAGES["default"] = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": {**_S3, "location": "media"}}
    # Models, snapshots and uploads (recommender.services.shared_files).
    STORAGES["shared"] = {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {**_S3, "location": "shared", "file_overwrite": True},
    }
STATIC_URL = "static/"
STATIC_ROOT = ENVIRONMENT.static_root

# Counted requests and guesses, and nothing else: with the cache only counts are lost. Without a Redis each web process
# counts by itself.

CACHES = {
    "default": (
        {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 100_000}}
        if ENVIRONMENT.broker_is_embedded
        else {
            "BACKEND": "couponsite.cache.CountingRedisCache",
            "LOCATION": ENVIRONMENT.redis_url.replace("redis+socket://", "unix://"),
            "KEY_PREFIX": "couponsite",
            "OPTIONS": {"socket_timeout": 1, "socket_connect_timeout": 1},
        }
    )
}

# What staff bring in

IMPORT_DIR: Path = ENVIRONMENT.import_dir
UPLOAD_MAX_BYTES = ENVIRONMENT.upload_max_megabytes * 2**20
UPLOAD_MAX_UNPACKED_BYTES = ENVIRONMENT.upload_max_unpacked_megabytes * 2**20
UPLOAD_RETENTION_DAYS = ENVIRONMENT.upload_retention_days
EVENT_RETENTION_DAYS = ENVIRONMENT.event_retention_days
RUN_RETENTION_DAYS = ENVIRONMENT.run_retention_days
SNAPSHOT_RETENTION_DAYS = ENVIRONMENT.snapshot_retention_days
TRAINING_PAIRS = ENVIRONMENT.training_pairs
FILE_UPLOAD_TEMP_DIR = DATA_DIR  # the system's own folder for such files may be small, or memory
FILE_UPLOAD_PERMISSIONS = 0o600

IMPORT_EXPORT_USE_TRANSACTIONS = True
# Between preview and confirmation a spreadsheet lies where every web process finds it.
IMPORT_EXPORT_TMP_STORAGE_CLASS = "import_export.tmp_storages.MediaStorage"

# People

AUTH_USER_MODEL = "recommender.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = reverse_lazy("admin:login")
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")
CSRF_FAILURE_VIEW = "recommender.admin.refusals.show_outdated_page"

# Languages and times. The shop's own time zone is a row (recommender.models.Shop): staff choose it.

LANGUAGE_CODE = ENVIRONMENT.language_code
LANGUAGES = [("en", _("English")), ("zh-hans", _("Simplified Chinese"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
FORMAT_MODULE_PATH = ["couponsite.formats"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

# API

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["recommender.api.authentication.BearerAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["recommender.api.permissions.IsShop"],
    "DEFAULT_RENDERER_CLASSES": ["recommender.api.renderers.FastJSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "recommender.api.negotiation.QuickNegotiation",
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "recommender.api.schema.ApiSchema",
    "DEFAULT_THROTTLE_CLASSES": ["recommender.api.limits.CallerThrottle"],
    "UNAUTHENTICATED_USER": None,
}
# Pages of the shop's own site, in which a shopper's token may be used: a browser asks before it lets them. It sends no
# cookies along, so a page has nothing by this that the token does not give it.
if ENVIRONMENT.shopper_page_origins:
    INSTALLED_APPS.append("corsheaders")
    MIDDLEWARE.insert(0, "corsheaders.middleware.CorsMiddleware")
CORS_ALLOWED_ORIGINS = ENVIRONMENT.shopper_page_origins
CORS_URLS_REGEX = r"^/api/v1/me/"
CORS_ALLOW_METHODS = ["GET", "POST"]
CORS_ALLOW_HEADERS = ["accept", "accept-language", "authorization", "content-type", "if-none-match"]
CORS_EXPOSE_HEADERS = ["API-Version", "ETag", "RateLimit", "RateLimit-Policy", "Retry-After"]
CORS_PREFLIGHT_MAX_AGE = 3600  # seconds

KEY_REQUESTS_PER_MINUTE = ENVIRONMENT.key_requests_per_minute
SHOPPER_REQUESTS_PER_MINUTE = ENVIRONMENT.shopper_requests_per_minute
OUTBOUND_PRIVATE_HOSTS = ENVIRONMENT.outbound_private_hosts
SPECTACULAR_SETTINGS = {
    "TITLE": "Couponsite",
    "DESCRIPTION": "Personal coupons of a shop: served, claimed, redeemed.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "GroupState": "recommender.models.groups.GroupBuy.State",
        "JobState": "recommender.models.jobs.Job.State",
        "ReservationState": "recommender.models.checkout.Reservation.State",
    },
}

# Background work. A message may come twice and a worker may die: the Job row, not the broker, remembers what is to do.

CELERY_BROKER_URL = ENVIRONMENT.redis_url
# Three queues, for what takes hours, what takes minutes and what is due on time, so that none waits for a longer one. A
# worker takes from all unless its --queues says otherwise. Which job goes where: recommender.jobs.QUEUES.
CELERY_TASK_QUEUES = [Queue(name, routing_key=name) for name in ("upkeep", "scoring", "training")]
CELERY_TASK_DEFAULT_QUEUE = "upkeep"
CELERY_TASK_ROUTES = {
    "recommender.tasks.run_job": {"queue": "scoring"},
    "recommender.tasks.score_shards": {"queue": "scoring"},
}
CELERY_TASK_IGNORE_RESULT = True
CELERY_RESULT_EXPIRES = None  # the scheduler would clear results away, and there are none
# A message is acknowledged when its work is done, and handed out again if the process at it dies: done twice does no
# harm here, done not at all would.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
# A process takes a message when it is free: what it held in store would wait for hours while others are idle.
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CONCURRENCY = ENVIRONMENT.worker_concurrency
# The longest that learning may take. Tasks that are over sooner have limits of their own, in recommender.tasks. At the
# soft limit the work ends with an error; at the hard one its process is killed, for libraries that do not listen.
CELERY_TASK_SOFT_TIME_LIMIT = 12 * 3600
CELERY_TASK_TIME_LIMIT = CELERY_TASK_SOFT_TIME_LIMIT + 300
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # Longer than the hard limit: the broker hands a message out again only when its first worker can no longer be at
    # it. Nobody waits for that: a sweep asks the tables, and sends anew within minutes what a dead worker held.
    "visibility_timeout": CELERY_TASK_TIME_LIMIT + 600,
    # A broker that vanishes without a word holds up nobody for longer than this. In seconds.
    "socket_connect_timeout": 3,
    "socket_timeout": 10,
    "socket_keepalive": True,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # a worker waits for the broker for as long as that is away
# No task is retried by Celery: the tables know what is left, and every sweep asks them. Sending is tried once more, for
# a connection that broke while it was idle; then the sweep sends.
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0}
CELERY_TIMEZONE = TIME_ZONE
CELERY_BEAT_SCHEDULER = "couponsite.scheduler:OnceScheduler"

LOGGING = describe_logging(log_format=ENVIRONMENT.log_format, level=ENVIRONMENT.log_level)

METRICS_TOKEN = ENVIRONMENT.metrics_token
if ENVIRONMENT.sentry_dsn:
    start_error_reports(dsn=ENVIRONMENT.sentry_dsn)

UNFOLD = {
    "SITE_TITLE": "Couponsite",
    "SITE_HEADER": "Couponsite",
    "SITE_SYMBOL": "confirmation_number",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("recommender/favicon.svg")}
    ],
    "STYLES": [lambda request: static("recommender/admin.css")],
    "SCRIPTS": [
        lambda request: static("recommender/once.js"),
        lambda request: static("recommender/keyboard.js"),
        lambda request: static("recommender/select_labels.js"),
    ],
    "SHOW_LANGUAGES": True,
    "DASHBOARD_CALLBACK": "recommender.admin.home.describe_shop",
    "SIDEBAR": {"navigation": "recommender.admin.navigation.list_pages"},
}
