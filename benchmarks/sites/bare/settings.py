from benchmarks.sites.common import *  # noqa: F403
