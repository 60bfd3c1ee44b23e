"""Every limit stays on, set high enough for a benchmark from one address."""

import os
from typing import Any

from benchmarks.sites.common import *  # noqa: F403
from benchmarks.sites.common import CHANNEL_LAYERS, INSTALLED_APPS, LAYERS

INSTALLED_APPS = [*INSTALLED_APPS, "pm_realtime", "benchmarks.sites.ours"]
ROOMS: dict[str, dict[str, Any]] = {
    "hall": {"public": True, "publish_role": "anonymous"},
    "room-<int:number>": {"public": True, "publish_role": "anonymous"},
}
PM_REALTIME = {
    "ROOMS": ROOMS,
    "RATE_LIMIT": "1000000/s",
    "CONNECT_RATE_PER_ADDRESS": "1000000/s",
    "CONNECT_RATE_PER_USER": "1000000/s",
    "MAX_ANONYMOUS_CONNECTIONS": 1_000_000,
    "MAX_ROOMS_PER_CONNECTION": 1000,
    "MAX_CONNECTIONS_PER_USER": 1_000_000,
    "NAMESPACE": os.environ.get("BENCH_NAMESPACE", ""),
    "RECOVERY_PERIOD": int(os.environ.get("BENCH_RECOVERY") or 0),
}

if os.environ.get("BENCH_PRESENCE"):
    ROOMS |= {
        "crowd": {"public": True, "presence": True},
        "present-<int:number>": {"public": True, "presence": {"per": "connection"}},
    }
    # Else this is most of what happens in an idle room.
    PM_REALTIME["SESSION_RECHECK_INTERVAL"] = 3600

# A site of one process leaves CHANNEL_LAYERS out.
if CHANNEL_LAYERS["default"]["BACKEND"] == LAYERS["memory"]:
    CHANNEL_LAYERS = {}
