import pytest
from django.core.checks import run_checks

from tests.checks.messages import VALID_LAYER


@pytest.fixture
def check(settings):
    """Run the checks of this app under ``PM_REALTIME``, other settings, and a valid layer."""
    settings.DEBUG = True
    settings.CHANNEL_LAYERS = VALID_LAYER

    def run(pm_realtime=None, **others):
        if pm_realtime is not None:
            settings.PM_REALTIME = pm_realtime
        for name, value in others.items():
            setattr(settings, name, value)
        found = [
            (message.id.removeprefix("pm_realtime."), message)
            for message in run_checks()
            if message.id.startswith("pm_realtime.")
        ]
        for _, message in found:
            assert message.msg.endswith((".", "nobody."))
            assert message.hint
            assert message.is_serious() is message.id.startswith("pm_realtime.E")
        return found

    return run
