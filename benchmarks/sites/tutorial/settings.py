from benchmarks.sites.common import *  # noqa: F403

ROOT_URLCONF = "benchmarks.sites.tutorial.urls"
