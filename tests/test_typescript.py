"""The declarations of the browser client, checked by `tsc --strict` in the npm package."""

import json
import re

import pytest

from tests.support.node import ROOT, add_packed_client, node, run

SOURCES = ROOT / "tests" / "types"
MISUSES = {
    number: found[1]
    for number, line in enumerate((SOURCES / "misuses.ts").read_text().splitlines(), 1)
    if (found := re.search(r"// (TS\d+)$", line))
}
OPTIONS = {
    "strict": True,
    "noEmit": True,
    "target": "es2022",
    "lib": ["es2022", "dom", "dom.iterable"],
    "noUncheckedIndexedAccess": True,
    "exactOptionalPropertyTypes": True,
    "types": [],
}
RESOLUTIONS = {"bundler": "esnext", "nodenext": "nodenext"}


@pytest.fixture(scope="module")
def site(tmp_path_factory, node_modules):
    """A folder with a site's TypeScript, the packed client and the compiler."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "package.json").write_text('{"type": "module", "private": true}')
    add_packed_client(folder)
    for name in ("typescript", "vue"):
        (folder / "node_modules" / name).symlink_to(node_modules / name)
    for source in SOURCES.glob("*.ts"):
        (folder / source.name).write_text(source.read_text())
    return folder


def test_example_of_the_documentation_compiles(site):
    page = (ROOT / "docs" / "client.md").read_text()
    ((name, code),) = re.findall(r"<!-- typescript: (\S+) -->\n```ts\n(.*?)```", page, re.DOTALL)
    (site / name).write_text(code)
    assert compile_(site, name) == []


def compile_(site, *names, resolution="bundler"):
    """Compile the files; return the file, line and code of each error."""
    module = {"module": RESOLUTIONS[resolution], "moduleResolution": resolution}
    project = site / "tsconfig.json"
    project.write_text(json.dumps({"compilerOptions": {**OPTIONS, **module}, "files": names}))
    compiler = site / "node_modules" / "typescript" / "bin" / "tsc"
    done = run(node(), compiler, "--pretty", "false", "--project", project, cwd=site)
    found = re.findall(r"^(\S+)\((\d+),\d+\): error (TS\d+)", done.stdout, re.MULTILINE)
    assert (done.returncode != 0) == bool(found), done.stdout
    return [(name, int(line), code) for name, line, code in found]


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_sample_compiles(site, resolution):
    assert compile_(site, "sample.ts", resolution=resolution) == []


@pytest.mark.parametrize(
    "module", ["pm_realtime/client", "pm_realtime/vue", "pm_realtime_testing/testing"]
)
def test_sample_uses_every_export(module):
    declared = (ROOT / f"pm_realtime/static/{module}.d.ts").read_text()
    names = set(re.findall(r"^export (?:declare )?(?:\w+) (\w+)", declared, re.MULTILINE))
    for listed in re.findall(r"^export (?:type )?\{([^}]+)\}", declared, re.MULTILINE):
        names |= {name.strip() for name in listed.split(",")}
    used = set(re.findall(r"\w+", (SOURCES / "sample.ts").read_text()))
    assert len(names) >= 3
    assert names - used == set()


@pytest.fixture(scope="module")
def errors(site):
    return compile_(site, "misuses.ts")


@pytest.mark.parametrize(("line", "code"), MISUSES.items())
def test_misuse_is_an_error_at_its_line(errors, line, code):
    assert ("misuses.ts", line, code) in errors


def test_misuses_are_the_only_errors(errors):
    assert len(MISUSES) == 30
    assert errors == [("misuses.ts", line, code) for line, code in MISUSES.items()]


def test_generated_types_compile_and_catch_misuses(site):
    for name in ("shop.d.ts", "shop_sample.ts"):
        (site / name).write_text((ROOT / "tests" / "contract" / name).read_text())
    assert compile_(site, "shop.d.ts", "shop_sample.ts") == []


def test_every_declaration_compiles(site):
    declared = (site / "node_modules/@pm-realtime/client").rglob("*.d.ts")
    names = [str(path.relative_to(site)) for path in sorted(declared)]
    assert len(names) == 5
    assert compile_(site, *names) == []


def test_commonjs_module_compiles(site):
    """TypeScript takes a ``.cts`` file for a module that is loaded with ``require``."""
    code = """
import { createRealtime, RealtimeError, type Subscription } from "@pm-realtime/client";
import { createFakeServer } from "@pm-realtime/client/testing";
import { useWebSocket } from "@pm-realtime/client/vue";

const { WebSocket } = createFakeServer();
const subscription: Subscription = createRealtime({ WebSocket }).subscribe("a");
subscription.leave().catch((error) => error instanceof RealtimeError && useWebSocket());
"""
    (site / "required.cts").write_text(code)
    assert compile_(site, "required.cts", resolution="nodenext") == []


@pytest.mark.parametrize("name", ["", "/testing", "/vue"])
def test_package_can_be_required(site, name):
    """Also in a Node that cannot require ES modules."""
    module = json.dumps(f"@pm-realtime/client{name}")
    script = f"""
        const required = Object.keys(require({module}));
        import({module}).then((imported) =>
            console.log(JSON.stringify([required.sort(), Object.keys(imported).sort()])));
    """
    (site / "required.cjs").write_text(script)
    done = run(node(), "--no-experimental-require-module", "required.cjs", cwd=site)
    assert done.returncode == 0, done.stdout
    required, imported = json.loads(done.stdout)
    assert required == imported
    assert len(required) >= 1
