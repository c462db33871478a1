"""Django settings. Everything that differs between cities comes from the environment (see config.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.utils.translation import gettext_lazy as _

from zhenan.server import config, logs

ROOT = config.ROOT
SRC = Path(__file__).resolve().parents[1]
DATA_DIR = config.data_dir()
ENGINES = config.engines()

SECRET_KEY = config.secret_key()
DEBUG = config.flag("ZHENAN_DEBUG", default=False)
ALLOWED_HOSTS = config.names("ZHENAN_HOSTS", "*")
CSRF_TRUSTED_ORIGINS = config.names("ZHENAN_ORIGINS", "")
DEMO = config.flag("ZHENAN_DEMO", default=False)

# Ours come first: where two apps translate one word or bring one template, Django takes the first.
INSTALLED_APPS = [
    "zhenan.kernel.territory",
    "zhenan.kernel.people",
    "zhenan.kernel.access",
    "zhenan.kernel.events",
    "zhenan.kernel.evidence",
    "zhenan.kernel.notices",
    "zhenan.kernel.workflow",
    "zhenan.kernel.lists",
    "zhenan.kernel.imports",
    "zhenan.packkit",
    "zhenan.domains.register",
    "zhenan.domains.duty",
    "zhenan.domains.hazards",
    "zhenan.domains.monitoring",
    "zhenan.domains.transport",
    "zhenan.domains.checks",
    "zhenan.domains.backtest",
    "zhenan.domains.indicators",
    "zhenan.web",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.contrib.humanize",
    "django_htmx",
    "pgtrigger",
    "pghistory",
    "procrastinate.contrib.django",
    "axes",
    "allauth",
    "allauth.account",
    "allauth.mfa",
]

MIDDLEWARE = [
    "zhenan.server.logs.RequestIdMiddleware",
    "zhenan.server.metrics.MetricsMiddleware",
    "zhenan.server.health.probed_under_any_name",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "zhenan.web.middleware.LanguageByChoice",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "zhenan.web.middleware.ShellHeaders",
    "allauth.account.middleware.AccountMiddleware",
    "pghistory.middleware.HistoryMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "zhenan.server.urls"
ASGI_APPLICATION = "zhenan.server.asgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        # The shell's own sign-in pages come before those of the packages.
        "DIRS": [SRC / "web" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "zhenan.web.context.shell",
            ],
        },
    }
]

DATABASES = {"default": config.django_database(ENGINES.database_url)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

AUTH_USER_MODEL = "people.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
# GB/T 22239-2019 8.1.4.1 asks for failed-login handling and an idle time-out without naming numbers: configurable.
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25  # hours
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_TEMPLATE = "account/locked.html"
AXES_VERBOSE = False
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 8 * 3600
SESSION_SAVE_EVERY_REQUEST = False
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "SAMEORIGIN"

ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_ADAPTER = "zhenan.web.accounts.ClosedSignup"
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_RATE_LIMITS = False  # django-axes does the lock-out; an empty table would leave the defaults in force
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_LOGOUT_REDIRECT_URL = "/"

LANGUAGE_CODE = "zh-hans"
LANGUAGES = [("zh-hans", _("Chinese")), ("en", _("English"))]
TIME_ZONE = "Asia/Shanghai"
USE_TZ = True
USE_I18N = True

STATIC_URL = "/static/"
NODE_MODULES = ROOT / "node_modules"
# (prefix, folder): front-end packages are served from where npm put them, nothing is copied.
FRONT_END = (
    ("vendor/tabler", "@tabler/core/dist"),
    ("vendor/htmx", "htmx.org/dist"),
    ("vendor/htmx-sse", "htmx-ext-sse"),
    ("vendor/maplibre", "maplibre-gl/dist"),
    ("vendor/echarts", "echarts/dist"),
    ("vendor/dexie", "dexie/dist"),
    ("vendor/icons", "@tabler/icons-webfont/dist"),
)
STATICFILES_DIRS = [(prefix, NODE_MODULES / folder) for prefix, folder in FRONT_END if (NODE_MODULES / folder).is_dir()]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_MAX_AGE = 3600
MEDIA_ROOT = DATA_DIR / "evidence"
FILE_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = 20 * 1024 * 1024

LOGGING = logs.LOGGING_CONFIG
NINJA_PAGINATION_PER_PAGE = 100

# Key of the national map service Tianditu: with it the map lies over its tiles, without it the map needs no internet.
TIANDITU_KEY = config.names("ZHENAN_TIANDITU_KEY", "")[0] if config.names("ZHENAN_TIANDITU_KEY", "") else ""
# Mail and other channels: apprise addresses, comma separated (docs/operators.md).
NOTICE_CHANNELS = config.names("ZHENAN_NOTICE_CHANNELS", "")
# Folders of programme packs: the platform's own and the city's.
PACK_DIRS = [SRC / "packs", *(Path(p) for p in config.names("ZHENAN_PACK_DIRS", ""))]
ROLES_FILE = Path(__file__).with_name("roles.yaml")
HISTORY_URL = ENGINES.history_url
NATS_URL = ENGINES.nats_url
MQTT_URL = ENGINES.mqtt_url

FORMAT_MODULE_PATH = ["zhenan.web.formats"]
TEST_RUNNER = "django.test.runner.DiscoverRunner"
