"""The built client in static files storages: every import and source map is the name of a file."""

import json
import re
from textwrap import dedent

import pytest
from django.core.management import call_command
from django.template import Context, Template
from django.test import override_settings

from tests.support.node import ROOT, node, run

DOCS = (ROOT / "docs" / "client.md").read_text()
PLAIN = "django.contrib.staticfiles.storage.StaticFilesStorage"
HASHED = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
REWRITTEN = "tests.site.storage.ModuleStorage"

HASHED_NAME = re.compile(r"\.[0-9a-f]{12}\.(js|map)$")
REFERENCE = re.compile(r"""(?:from|import\()\s*["'](\.[^"']+)|^//# sourceMappingURL=(.+)$""", re.M)


@pytest.fixture
def collect(tmp_path):
    """``collect(storage)`` collects the files of the client and returns what the tag names."""

    def collect_with(storage):
        with override_settings(
            STATIC_URL="/static/",
            STATIC_ROOT=tmp_path,
            STORAGES={"staticfiles": {"BACKEND": storage}},
            STATICFILES_DIRS=[("pm_realtime", ROOT / "pm_realtime/static/pm_realtime")],
            STATICFILES_FINDERS=["django.contrib.staticfiles.finders.FileSystemFinder"],
            INSTALLED_APPS=["pm_realtime", "django.contrib.staticfiles"],
            TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        ):
            call_command("collectstatic", interactive=False, verbosity=0)
            text = "{% load pm_realtime %}{% realtime_client shared=True %}"
            tag = Template(text).render(Context())
        named = re.findall(r'(?:src|href)="/static/([^"]+)"', tag)
        return [tmp_path / name for name in named]

    return collect_with


def references(path):
    """Return the files of the client to which a file refers."""
    return {
        path.parent / (imported or map) for imported, map in REFERENCE.findall(path.read_text())
    }


def loaded_by(path):
    """Return a module and all files that it loads, by their names without hashes."""
    found, waiting = {}, [path]
    while waiting:
        file = waiting.pop()
        found[re.sub(r"\.[0-9a-f]{12}(?=\.)", "", file.name)] = file
        waiting += references(file) - set(found.values())
    return found


@pytest.mark.parametrize("storage", [PLAIN, HASHED, REWRITTEN])
def test_every_reference_is_the_name_of_a_file(collect, storage):
    shared, client = collect(storage)
    modules = {"client.js", "shared.js"}
    assert set(loaded_by(client)) == modules | {f"{name}.map" for name in modules}
    assert set(loaded_by(shared)) == {"shared.js", "shared.js.map"}
    for path in client.parent.glob("*.js"):
        assert all(named.is_file() for named in references(path))


@pytest.mark.parametrize("storage", [HASHED, REWRITTEN])
def test_tag_names_hashed_files_only(collect, storage):
    assert [path.name for path in collect(storage) if not HASHED_NAME.search(path.name)] == []


def test_storage_of_the_documentation_is_the_one_of_these_tests():
    (written,) = re.findall(r"<!-- file: storage -->\n *```python\n(.*?)```", DOCS, re.DOTALL)
    assert dedent(written) == (ROOT / "tests/site/storage.py").read_text()


@pytest.mark.parametrize("storage", [HASHED, REWRITTEN])
def test_client_starts_from_hashed_files_alone(collect, tmp_path, storage):
    _, module = collect(storage)
    for path in module.parent.iterdir():
        if not HASHED_NAME.search(path.name):
            path.unlink()
    (tmp_path / "package.json").write_text('{"type": "module"}')
    script = f"""
        globalThis.window = globalThis;
        globalThis.document = Object.assign(new EventTarget(), {{
          querySelector: () => ({{ dataset: {{ pmRealtime: '{{"url": "ws://a/"}}' }} }}),
        }});
        let ready;
        document.addEventListener("realtime:ready", ({{ detail }}) => {{ ready = detail; }});
        await import({json.dumps(module.as_uri())});
        console.log(ready === window.realtime, ready.status);
    """
    done = run(node(), "--input-type=module", "--eval", script)
    assert done.stdout == "true stopped\n"
