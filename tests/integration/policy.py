"""A site whose pages have the template tag and a content security policy."""

import json

from tests import settings
from tests.integration.server import Server

STRICT = "default-src 'self'"
MANIFEST = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"


def site(folder, policy=STRICT, host="", storage=MANIFEST):
    """Return a site with collected static files, which are served from ``host`` if given."""
    server = Server("uvicorn", folder, settings={"ROOMS": {"open": {"public": True}}})
    origin = f"http://{host}:{server.port}" if host else ""
    server.environment = {
        "TEST_POLICY": policy.format(origin=origin),
        "TEST_SETTINGS": json.dumps(
            {
                "ROOT_URLCONF": "tests.site.tagged",
                "INSTALLED_APPS": [*settings.INSTALLED_APPS, "django.contrib.staticfiles"],
                "TEMPLATES": [{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
                "STATIC_URL": f"{origin}/static/",
                "STATIC_ROOT": str(folder / "static"),
                "STORAGES": {"staticfiles": {"BACKEND": storage}},
            }
        ),
    }
    server.manage("collectstatic", "--noinput", "--verbosity=0")
    return server
