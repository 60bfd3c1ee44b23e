"""Settings of the site that the tests run in: as few as a site can have."""

import json
import os
import tempfile
from pathlib import Path

SECRET_KEY = "only for tests"
DEBUG = False
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
USE_TZ = True
ROOT_URLCONF = "tests.site.urls"
ASGI_APPLICATION = "tests.site.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "pm_realtime",
    "tests.site",
    "tests.people",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
AUTH_USER_MODEL = os.environ.get("TEST_USER_MODEL", "site.User")
AUTHENTICATION_BACKENDS = os.environ.get(
    "TEST_AUTHENTICATION_BACKENDS", "django.contrib.auth.backends.ModelBackend"
).split(",")
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("TEST_DATABASE", ":memory:"),
        "ATOMIC_REQUESTS": bool(os.environ.get("TEST_ATOMIC_REQUESTS")),
        "OPTIONS": {
            "timeout": 20,
            "init_command": "PRAGMA synchronous=OFF",
            # SQLite does not wait for a lock if a transaction has read before it writes.
            "transaction_mode": "IMMEDIATE" if os.environ.get("TEST_ATOMIC_REQUESTS") else None,
        },
        "TEST": {"NAME": str(Path(tempfile.gettempdir()) / f"pm_realtime-{os.getpid()}.sqlite3")},
    }
}
if "TEST_DATABASES" in os.environ:
    DATABASES = json.loads(os.environ["TEST_DATABASES"])
if "TEST_CHANNEL_LAYERS" in os.environ:
    CHANNEL_LAYERS = json.loads(os.environ["TEST_CHANNEL_LAYERS"])
PM_REALTIME = json.loads(os.environ.get("TEST_PM_REALTIME", "{}"))
globals().update(json.loads(os.environ.get("TEST_SETTINGS", "{}")))
