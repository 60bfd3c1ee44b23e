"""The tests of revocation pass with other user models and authentication backends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OWN_BACKEND = "tests.people.backends.OwnBackend"
ONE_ENGINE = "not [cached_db and not [cache and not [file and not [signed_cookies"
#: Tests with a session engine as a parameter use no groups, nor do those of changes without signal.
WITHOUT_GROUPS = "[db] or [db- or [update] or [delete]"

SITES = {
    "a number": ({"TEST_USER_MODEL": "people.Numbered"}, ONE_ENGINE),
    "a text": ({"TEST_USER_MODEL": "people.Named"}, ONE_ENGINE),
    "groups through a model": (
        {"TEST_USER_MODEL": "people.Member"},
        f"{ONE_ENGINE} and not reverse",
    ),
    "minimal": (
        {
            "TEST_USER_MODEL": "people.Bare",
            "TEST_PM_REALTIME": json.dumps({"ROLE_RESOLVER": "tests.people.models.level_of"}),
        },
        WITHOUT_GROUPS,
    ),
    "several backends": (
        {
            "TEST_AUTHENTICATION_BACKENDS": (
                f"{OWN_BACKEND},django.contrib.auth.backends.ModelBackend"
            )
        },
        ONE_ENGINE,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("site", SITES)
def test_revocation_works_with_other_user_models(site):
    environment, chosen = SITES[site]
    command = [sys.executable, "-m", "pytest", "-q", "--nomigrations", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-k", chosen, *map(str, ROOT.glob("tests/connection/test_revocation*.py"))],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert " skipped" not in done.stdout
