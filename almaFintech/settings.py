"""Settings of almaFintech, all read from the environment or a `.env` file.

Without any configuration this is a development server: DEBUG, SQLite, random keys in ignored
files. `server/checks.py` and `server/startup.py` keep such a configuration out of production.
`.env.example` lists every variable that `ENVIRONMENT` knows.
"""

import os
from datetime import timedelta
from pathlib import Path

from corsheaders.defaults import default_headers
from django.core.exceptions import ImproperlyConfigured

from almaFintech import __version__
from almaFintech.db import connections
from almaFintech.server.environment import (
    Environment,
    address,
    number,
    port,
    positive,
    positive_or_unset,
    switch,
    up_to,
    workers_for_the_cores,
)
from almaFintech.server.logs import logging_config
from almaFintech.server.secret_key import development_key

BASE_DIR = Path(__file__).resolve().parent.parent

# --- The environment ---------------------------------------------------------------------

# More than anybody needs, and dates that the database can still store.
CENTURY_DAYS = 36_500

ENVIRONMENT = {
    "DEBUG": (switch, True),
    "SECRET_KEY": (str, ""),
    "SECRET_KEY_FALLBACKS": (list, []),
    "ALLOWED_HOSTS": (list, []),
    "CSRF_TRUSTED_ORIGINS": (list, []),
    "CORS_ALLOWED_ORIGINS": (list, []),
    "SECURE_SSL_REDIRECT": (switch, True),
    "SECURE_HSTS_SECONDS": (number, 31_536_000),
    "TRUST_FORWARDED_PROTO": (switch, False),
    "TRUSTED_PROXIES": (number, 0),
    "MAX_BODY_BYTES": (positive, 2_097_152),
    "LOGIN_RATE_PER_ADDRESS": (str, "10/m"),
    "LOGIN_RATE_PER_USERNAME": (str, "20/m"),
    "LOGIN_RATE_PER_USER": (str, "60/m"),
    "USER_RATE": (str, ""),
    "REFUSED_TRANSFERS_RATE": (str, "20/m"),
    "DATABASE_URL": (str, "sqlite:///db.sqlite3"),
    "DATABASE_TIMEOUT": (up_to(86_400), 10),
    "LOCK_TIMEOUT": (up_to(60), 3),
    "GROUP_COMMIT": (switch, True),
    "PORTABLE_SQL": (switch, False),
    "REDIS_URL": (str, ""),
    "ACCESS_TOKEN_MINUTES": (up_to(CENTURY_DAYS * 24 * 60), 5),
    "REFRESH_TOKEN_DAYS": (up_to(CENTURY_DAYS), 1),
    "ROTATE_REFRESH_TOKENS": (switch, False),
    "IDEMPOTENCY_KEY_DAYS": (up_to(CENTURY_DAYS), 30),
    "LEDGER_KEY": (str, ""),
    "LEDGER_KEY_FALLBACKS": (list, []),
    "CLOCK_TOLERANCE_SECONDS": (number, 120),
    "SERVE_ADDRESS": (address, "127.0.0.1:8000"),
    "PORT": (port, ""),
    "SERVE_WORKERS": (positive_or_unset, ""),
    "SERVE_THREADS": (positive, 8),
    "METRICS_ALLOWED": (list, []),
    "METRICS_TOKEN": (str, ""),
}
env = Environment(**ENVIRONMENT)
env.read_file(os.environ.get("ENV_FILE", BASE_DIR / ".env"))

# --- Safety ------------------------------------------------------------------------------

DEBUG = env("DEBUG")
SECRET_KEY = env("SECRET_KEY")
SECRET_KEY_FALLBACKS = env("SECRET_KEY_FALLBACKS")
if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured(
            "SECRET_KEY must be set when DEBUG is off: `openssl rand -hex 48` makes one."
        )
    SECRET_KEY = development_key(BASE_DIR / ".secret_key")

ALLOWED_HOSTS = env("ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = env("CSRF_TRUSTED_ORIGINS")
CORS_ALLOWED_ORIGINS = env("CORS_ALLOWED_ORIGINS")
CORS_ALLOW_HEADERS = (*default_headers, "idempotency-key", "if-match", "x-request-id")
CORS_EXPOSE_HEADERS = (
    "ETag",
    "Idempotent-Replayed",
    "Link",
    "Location",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-ID",
)
CORS_URLS_REGEX = r"^/api/"

SECURE_SSL_REDIRECT = env("SECURE_SSL_REDIRECT") and not DEBUG
SECURE_HSTS_SECONDS = 0 if DEBUG else env("SECURE_HSTS_SECONDS")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
CSRF_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
if env("TRUST_FORWARDED_PROTO"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
TRUSTED_PROXIES = env("TRUSTED_PROXIES")
MAX_BODY_BYTES = DATA_UPLOAD_MAX_MEMORY_SIZE = env("MAX_BODY_BYTES")
LOGIN_RATE_PER_ADDRESS = env("LOGIN_RATE_PER_ADDRESS")
LOGIN_RATE_PER_USERNAME = env("LOGIN_RATE_PER_USERNAME")
LOGIN_RATE_PER_USER = env("LOGIN_RATE_PER_USER")
USER_RATE = env("USER_RATE")
REFUSED_TRANSFERS_RATE = env("REFUSED_TRANSFERS_RATE")
# The owner of the domain decides whether HSTS includes its other hosts and its preload list.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

# --- Applications ------------------------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "corsheaders",
    "rest_framework",
    "rest_framework_simplejwt.token_blacklist",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "almaFintech",
    "login",
    "accounts",
    "audit",
]

MIDDLEWARE = [
    "almaFintech.middleware.probes.ProbeMiddleware",
    "almaFintech.middleware.requests.RequestMiddleware",
    "almaFintech.middleware.headers.HeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "almaFintech.middleware.caching.CompressionMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "almaFintech.middleware.caching.NoStoreMiddleware",
    "almaFintech.middleware.bodies.BodyMiddleware",
    "almaFintech.middleware.errors.ErrorMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "almaFintech.urls"
# WSGI_APPLICATION stays unset: `runserver` then serves Django's own handler, whereas wsgi.py and
# asgi.py refuse a development configuration.

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
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

# --- Database and cache ------------------------------------------------------------------

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": env.db("DATABASE_URL")}
_database = DATABASES["default"]
_options = _database.setdefault("OPTIONS", {})
_timeout = env("DATABASE_TIMEOUT")
LOCK_TIMEOUT = env("LOCK_TIMEOUT")
GROUP_COMMIT = env("GROUP_COMMIT")
PORTABLE_SQL = env("PORTABLE_SQL")

if _database["ENGINE"].endswith("sqlite3"):
    # IMMEDIATE takes the write lock before the first read, so that the rows on which a transfer
    # depends cannot change meanwhile. FULL syncs every commit: a transfer survives a power cut.
    _options.setdefault("transaction_mode", "IMMEDIATE")
    _options.setdefault("timeout", LOCK_TIMEOUT if connections.serves_http else _timeout)
    _options.setdefault("init_command", "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
    if _database["NAME"] != ":memory:":
        # A relative name means the same file in whatever folder the command is run.
        _database["NAME"] = str(BASE_DIR / _database["NAME"])
elif _database["ENGINE"].endswith("postgresql"):
    _database["ENGINE"] = "almaFintech.db.postgresql"
    _options.setdefault("connect_timeout", min(_timeout, connections.CONNECT_SECONDS))
    for _name, _value in connections.postgresql(_timeout).items():
        _options.setdefault(_name, _value)
    # Each thread of a worker keeps a connection, and checks it once in each request.
    _database["CONN_MAX_AGE"] = connections.max_age
    _database["CONN_HEALTH_CHECKS"] = True
elif _database["ENGINE"].endswith("mysql"):
    _options.setdefault("charset", "utf8mb4")
    _options.setdefault("isolation_level", "read committed")
    _options.setdefault("init_command", connections.mariadb(_timeout))

# The cache holds nothing that must not be lost: the server works without Redis. It counts in
# `counters`, which raises while Redis is down, and then in `process` (almaFintech/api/rates.py).
_in_memory = {
    "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
    "OPTIONS": {"MAX_ENTRIES": 10_000},
}
CACHES: dict[str, dict[str, object]] = {
    name: {**_in_memory, "LOCATION": name} for name in ("default", "counters", "process")
}
REDIS_URL = env("REDIS_URL")
if REDIS_URL:
    _redis = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": REDIS_URL}
    _limits = {"SOCKET_CONNECT_TIMEOUT": 1, "SOCKET_TIMEOUT": 1}
    _ignoring = {"IGNORE_EXCEPTIONS": True, "LOG_IGNORED_EXCEPTIONS": True}
    CACHES["default"] = {**_redis, "OPTIONS": {**_limits, **_ignoring}}
    CACHES["counters"] = {**_redis, "OPTIONS": _limits}

# --- Authentication ----------------------------------------------------------------------

AUTHENTICATION_BACKENDS = ["login.backends.StaffBackend"]
PASSWORD_HASHERS = [
    "login.hashers.Argon2Hasher",
    "login.hashers.PBKDF2Hasher",
]
_validators = "django.contrib.auth.password_validation"
AUTH_PASSWORD_VALIDATORS = (
    []
    if DEBUG
    else [
        {"NAME": f"{_validators}.UserAttributeSimilarityValidator"},
        {"NAME": f"{_validators}.MinimumLengthValidator"},
        {"NAME": f"{_validators}.CommonPasswordValidator"},
        {"NAME": f"{_validators}.NumericPasswordValidator"},
    ]
)

_access_minutes = env("ACCESS_TOKEN_MINUTES")
if DEBUG and "ACCESS_TOKEN_MINUTES" not in env.ENVIRON:
    # Long enough to walk through the README.
    _access_minutes = 60
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=_access_minutes),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=env("REFRESH_TOKEN_DAYS")),
    "ROTATE_REFRESH_TOKENS": env("ROTATE_REFRESH_TOKENS"),
    "CHECK_REVOKE_TOKEN": True,
}

# --- The ledger --------------------------------------------------------------------------

# The key signs every entry and audit record (almaFintech/db/chains.py). It is not SECRET_KEY, which
# is replaced when a token leaks: entries stay signed with LEDGER_KEY_FALLBACKS.
LEDGER_KEY = env("LEDGER_KEY")
LEDGER_KEY_FALLBACKS = env("LEDGER_KEY_FALLBACKS")
if not LEDGER_KEY:
    if not DEBUG:
        raise ImproperlyConfigured(
            "LEDGER_KEY must be set in the environment when DEBUG is off: openssl rand -hex 48"
        )
    LEDGER_KEY = development_key(BASE_DIR / ".ledger_key")
CLOCK_TOLERANCE_SECONDS = env("CLOCK_TOLERANCE_SECONDS")
IDEMPOTENCY_KEY_DAYS = env("IDEMPOTENCY_KEY_DAYS")

# --- The API -----------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["login.authentication.Authentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PAGINATION_CLASS": "almaFintech.api.pagination.KeysetPagination",
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "almaFintech.api.renderers.Negotiation",
    "DEFAULT_RENDERER_CLASSES": ["almaFintech.api.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": [
        "almaFintech.api.parsers.JSONParser",
        "rest_framework.parsers.FormParser",
        "rest_framework.parsers.MultiPartParser",
    ],
    "DEFAULT_THROTTLE_CLASSES": ["almaFintech.api.rates.UserThrottle"],
    "NUM_PROXIES": TRUSTED_PROXIES,
    "DEFAULT_SCHEMA_CLASS": "almaFintech.api.openapi.Schema",
    "EXCEPTION_HANDLER": "almaFintech.api.errors.exception_handler",
    # Error messages may repeat what a client sent, and a lone surrogate has no UTF-8 form.
    "UNICODE_JSON": False,
}

# --- Its OpenAPI document ----------------------------------------------------------------

SPECTACULAR_SETTINGS = {
    "OAS_VERSION": "3.1.0",
    "TITLE": "almaFintech",
    "VERSION": __version__,
    "CONTACT": {"name": "almaFintech"},
    "LICENSE": {"name": "MIT", "identifier": "MIT"},
    "DESCRIPTION": (BASE_DIR / "almaFintech" / "api" / "description.md").read_text(),
    "TAGS": [
        {"name": "login", "description": "Tokens."},
        {"name": "users", "description": "The people who may log in. For staff."},
        {
            "name": "profiles",
            "description": "The contact data and the accounts of each user. For staff.",
        },
        {"name": "accounts", "description": "Balances, and the statements that explain them."},
        {"name": "transfers", "description": "Payments from one account to another."},
        {"name": "api", "description": "The entry points."},
    ],
    "SCHEMA_PATH_PREFIX": "/api/",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "Currency": "accounts.currencies.currency_choices",
        "EntryKind": "accounts.models.Entry.Kind",
    },
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "almaFintech.api.openapi.add_error_schemas",
    ],
    # The documentation pages load everything from this server.
    "SWAGGER_UI_DIST": "SIDECAR",
    # A pasted token survives a reload of the page.
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "persistAuthorization": True},
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# --- Serving -------------------------------------------------------------------------------

SERVE_ADDRESS = env("SERVE_ADDRESS")
# Set by platforms that choose the port, and by `make serve PORT=8001`.
PORT = env("PORT")
if PORT and not SERVE_ADDRESS.startswith("unix:"):
    SERVE_ADDRESS = f"{SERVE_ADDRESS.rpartition(':')[0]}:{PORT}"
SERVE_WORKERS = env("SERVE_WORKERS") or workers_for_the_cores()
SERVE_THREADS = env("SERVE_THREADS")
METRICS_ALLOWED = env("METRICS_ALLOWED")
METRICS_TOKEN = env("METRICS_TOKEN")
LOGGING = logging_config(debug=DEBUG)

# --- Language, time, static files ----------------------------------------------------------

LANGUAGE_CODE = "en-us"
USE_I18N = False
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
# The installed packages contain the files, so there is nothing to collect before a start.
WHITENOISE_USE_FINDERS = True
