"""All links of the documentation lead to a file, and to a heading of it if they name one."""

import re

import pytest

from tests.support.node import ROOT

PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
#: A path, which is empty for the page itself, and a heading. Addresses of other sites are left out.
LINK = re.compile(r"\]\((?!\w+:)([^)#]*)(?:#([^)]+))?\)")


def anchors_of(page):
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    for path, anchor in LINK.findall(page.read_text()):
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors_of(target), f"{path}#{anchor}"
