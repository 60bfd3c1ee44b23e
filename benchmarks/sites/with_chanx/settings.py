from benchmarks.sites.common import *  # noqa: F403
from benchmarks.sites.common import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "rest_framework", "chanx.channels"]
