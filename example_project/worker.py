"""The application of each process of ``manage.py demo --processes N``, with static files."""

import multiprocessing
import os
import threading

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler

from example_project.asgi import application as site

application = ASGIStaticFilesHandler(site)


def _end_with_parent() -> None:
    """Exit at once if the demo was killed and could not stop its workers."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
