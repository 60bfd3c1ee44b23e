"""The AsyncAPI documents of the demo and of a shop, in AsyncAPI's own parser and component."""

import json
import re
import sys
import tarfile

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.support.node import ROOT, download_packages, node, run

PACKAGES = {"parser": "@asyncapi/parser@3.6.6", "component": "@asyncapi/react-component@3.2.1"}
#: That AsyncAPI has a later version.
LATER_VERSION = "asyncapi-latest-version"
#: The heading with which the component shows what is wrong with a document.
ERROR_HEADING = re.compile("^Error(:|$)")

PARSE = """
globalThis.self = globalThis;
const Parser = require(process.argv[2]);
const text = require("node:fs").readFileSync(process.argv[3], "utf8");
new Parser().parse(text).then(({ document, diagnostics }) =>
  console.log(JSON.stringify({
    operations: document?.operations().all().map((each) => each.id()) ?? null,
    problems: diagnostics.map(({ code, path, message }) => [code, path.join("/"), message]),
  })));
"""

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # Without the fixtures, as a machine without Chromium first installs one.
    pytest.mark.timeout(120, func_only=True),
]


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The folders of AsyncAPI's packages. They contain their dependencies, built for browsers."""
    folder = tmp_path_factory.mktemp("asyncapi")
    download_packages(PACKAGES.values(), folder)
    found = {}
    for name, package in PACKAGES.items():
        file = re.sub(r"[@/]", "-", package).strip("-")
        with tarfile.open(folder / f"{file}.tgz") as opened:
            opened.extractall(folder / name, filter="data")
        found[name] = folder / name / "package"
    return found


@pytest.fixture(scope="module")
def demo_document(tmp_path_factory):
    path = tmp_path_factory.mktemp("demo") / "demo.yaml"
    done = run(sys.executable, ROOT / "manage.py", "realtime_schema", "--output", path)
    assert done.returncode == 0, done.stdout
    return path


@pytest.fixture(scope="module", params=["demo", "shop"])
def document(request):
    if request.param == "demo":
        return request.getfixturevalue("demo_document")
    return ROOT / "tests" / "contract" / "shop.json"


async def test_parser_finds_no_problem(packages, document, tmp_path):
    script = tmp_path / "parse.cjs"
    script.write_text(PARSE)
    done = run(node(), script, packages["parser"] / "browser" / "index.js", document)
    found = json.loads(done.stdout)
    assert {code for code, *_ in found["problems"]} <= {LATER_VERSION}, found["problems"]
    assert {"subscribe", "message.support"} <= set(found["operations"])


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser):
    page = await browser.new_page()
    page.set_default_timeout(20_000)
    yield page
    await page.close()


@pytest.mark.browser
async def test_component_of_studio_renders_it(packages, document, page):
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: line.type == "error" and errors.append(line.text))
    await page.set_content('<div id="document"></div>')
    component = packages["component"]
    await page.add_style_tag(path=component / "styles" / "default.min.css")
    await page.add_script_tag(path=component / "browser" / "standalone" / "index.js")
    await page.evaluate(
        """schema => AsyncApiStandalone.render(
            { schema, config: { show: { errors: true } } },
            document.getElementById("document"),
        )""",
        document.read_text(),
    )
    await expect(page.locator("#introduction")).to_be_visible()
    operations = page.locator("#operations")
    await expect(operations).to_contain_text("support")
    await expect(operations).to_contain_text("Joins a room.")
    await expect(page.get_by_role("heading", name=ERROR_HEADING)).to_have_count(0)
    assert errors == []
