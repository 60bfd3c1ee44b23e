"""Receivers of the signals of pm_realtime."""

import os
from typing import Any

from django.conf import settings
from django.dispatch import receiver

from pm_realtime import asend_to_connection
from pm_realtime.signals import connected

from .realtime import Process


@receiver(connected, dispatch_uid="example_project.support.tell_process")
async def tell_process(*, connection_id: str, **kwargs: Any) -> None:
    """Tell a page the id of its process, if several processes serve the demo."""
    if settings.DEMO_PROCESSES > 1:
        await asend_to_connection(connection_id, "process", Process(os.getpid()))
