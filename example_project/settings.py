"""Settings of the demo: SQLite, the state in memory or in the Redis at REDIS_URL."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

# The key and DEBUG are for the demo on your own machine only.
SECRET_KEY = "demo-only-not-a-secret-do-not-use-on-a-real-site"
DEBUG = True
ALLOWED_HOSTS = [
    "localhost",
    "127.0.0.1",
    "[::1]",
    *filter(None, os.environ.get("DJANGO_ALLOWED_HOSTS", "").split(",")),
]

INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "pm_realtime",
    "example_project.support",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "example_project.support.middleware.content_security_policy",
]

ROOT_URLCONF = "example_project.urls"
ASGI_APPLICATION = "example_project.asgi.application"
WSGI_APPLICATION = "example_project.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "example_project.support.context.site",
            ],
        },
    },
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("PM_REALTIME_DEMO_DB") or BASE_DIR / "demo.sqlite3",
        # Several tabs and their sockets read sessions while a form is saved.
        # A transaction that writes says so at once, so that it waits for another one.
        "OPTIONS": {
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL;",
            "transaction_mode": "IMMEDIATE",
        },
    },
}
if REDIS_URL := os.environ.get("REDIS_URL"):
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": [REDIS_URL]},
        }
    }
#: The number of processes that serve the demo. `manage.py demo --processes` sets the variable.
DEMO_PROCESSES = int(os.environ.get("PM_REALTIME_DEMO_PROCESSES", "1"))
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
# Only one page needs Vue. Without `npm install` the page says so.
VUE = Path(os.environ.get("PM_REALTIME_DEMO_VUE") or BASE_DIR / "node_modules" / "vue" / "dist")
STATICFILES_DIRS = [("vue", VUE)] if VUE.is_dir() else []

PM_REALTIME = {
    "ROOMS": {
        # The chat begins with the last messages of a week, on each page and after each break.
        # Only its commands write there, so everything is saved.
        "support": {
            "min_role": "editor",
            "publish_role": "server",
            "history": 200,
            "history_ttl": 7 * 24 * 3600,
            "presence": {"info": "example_project.support.realtime.describe_people"},
        },
        "admin:notifications": {"min_role": "admin"},
        "system:broadcast": {"min_role": "master"},
    },
    # A support desk reconnects for as long as it takes.
    "CLIENT": {"max_reconnect_attempts": None},
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"},
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "line"},
    },
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "pm_realtime": {"level": "INFO"},
        # A line for each request and each refusal would hide more important lines.
        "django": {"level": "INFO", "handlers": ["console"], "propagate": False},
        "django.request": {"level": "ERROR"},
        "django.channels.server": {"level": "ERROR"},
        "daphne": {"level": "WARNING"},
    },
}
