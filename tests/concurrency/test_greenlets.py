"""Pushes and questions in a process whose threads are greenlets of gevent or eventlet."""

import json
import os
import subprocess
import sys

import pytest

from pm_realtime.layer import CORE_LAYER, PUBSUB_LAYER

PATCHES = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
}

#: Greenlets push, ask and query the database; another one counts how often it gets its turn.
PROGRAM = """
import os, signal, sys, threading, time
import django; django.setup()
from django.core.management import call_command
from django.contrib.auth import get_user_model
from django.utils.functional import SimpleLazyObject
from pm_realtime import get_cursor, get_history, get_stats, is_online, send_to_room
from pm_realtime.exceptions import BackendError

call_command("migrate", verbosity=0)
get_user_model().objects.create()
done = []

def work():
    for _ in range(3):
        send_to_room("r", "news")
        send_to_room("r", "once", idempotency_key="k")
        assert get_cursor("r") <= get_cursor("r")
        assert get_user_model().objects.count() == 1
        assert get_stats()["totalConnections"] == 0
        assert is_online(SimpleLazyObject(get_user_model().objects.get)) is False
        assert get_user_model().objects.count() == 1
    done.append(1)

work()
threads = [threading.Thread(target=work) for _ in range(12)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(done) == 13, done
types = [message["type"] for message in get_history("r").messages]
assert sorted(types) == ["news"] * 39 + ["once"], types

turns = []

def count():
    while True:
        time.sleep(0.01)
        turns.append(time.monotonic())

threading.Thread(target=count, daemon=True).start()
os.kill(int(sys.argv[1]), signal.SIGSTOP)
for call in (get_stats, lambda: send_to_room("r", "news")):
    try:
        call()
    except BackendError:
        turns.append(time.monotonic())
    else:
        raise AssertionError("a frozen Redis answered")
assert max(b - a for a, b in zip(turns, turns[1:])) < 0.7, turns
assert get_user_model().objects.count() == 1
print("done")
"""


@pytest.mark.parametrize("layer", [PUBSUB_LAYER, CORE_LAYER])
@pytest.mark.parametrize("patch", PATCHES)
@pytest.mark.slow
def test_greenlets_push_ask_and_query_without_holding_each_other_up(valkey, tmp_path, patch, layer):
    # A name, which is looked up in the background, unlike an address.
    host = {"address": valkey.url.replace("127.0.0.1", "localhost"), "socket_timeout": None}
    layers = {"default": {"BACKEND": layer, "CONFIG": {"hosts": [host]}}}
    done = subprocess.run(
        [sys.executable, "-c", PATCHES[patch] + PROGRAM, str(valkey.process.pid)],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path),
            "TEST_CHANNEL_LAYERS": json.dumps(layers),
            "TEST_DATABASE": str(tmp_path / "db.sqlite3"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
