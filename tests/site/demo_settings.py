"""The demo with shared tabs, and with a URL for the number of its sockets."""

from example_project.settings import *  # noqa: F403
from example_project.settings import PM_REALTIME as DEMO

PM_REALTIME = {**DEMO, "CLIENT": {**DEMO["CLIENT"], "shared": True}}
ROOT_URLCONF = "tests.site.demo_urls"
