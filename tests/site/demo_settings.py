"""The demo where all tabs of a person share one socket, and which says how many sockets it has."""

from example_project.settings import *  # noqa: F403
from example_project.settings import PM_REALTIME as DEMO

PM_REALTIME = {**DEMO, "CLIENT": {**DEMO["CLIENT"], "shared": True}}
ROOT_URLCONF = "tests.site.demo_urls"
