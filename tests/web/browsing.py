"""What tests with a browser look at besides the page: its console, and how accessible it is."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page

__all__ = ["FLAGS", "SCREENSHOTS", "Console", "assert_accessible", "chromium_program"]

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "out" / "browser"
"""Where pages are shown as they were when a test failed."""

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()

REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (refused) => console.error(
  `content security policy: ${refused.violatedDirective} forbids ${refused.blockedURI} in ${refused.sourceFile}`
));
"""

GRAVE = ("serious", "critical")


def chromium_program() -> str:
    """Debian's Chromium, or `$MAINSPRING_TEST_CHROMIUM`. Without one the test is skipped, and fails in CI."""
    named = os.environ.get("MAINSPRING_TEST_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
    if not os.access(named, os.X_OK):
        complaint = f"there is no Chromium at {named}: apt-get install chromium, or set MAINSPRING_TEST_CHROMIUM"
        if os.environ.get("CI"):
            pytest.fail(complaint, pytrace=False)
        pytest.skip(complaint)
    return named


class Console:
    """The errors that pages complain of: exceptions, `console.error`, failed requests, what the CSP forbade."""

    def __init__(self) -> None:
        self._complaints: list[str] = []
        self._expected: list[re.Pattern[str]] = []

    def listen(self, context: BrowserContext) -> None:
        """Hear all pages of the context, those that come later too."""
        context.add_init_script(REPORT_VIOLATIONS)
        context.on("console", self._hear)
        context.on("weberror", lambda raised: self._complaints.append(f"exception: {raised.error}"))

    def expect(self, pattern: str) -> None:
        """Complaints with a match of this are no failure: `console.expect("status of 403")`."""
        self._expected.append(re.compile(pattern))

    @property
    def complaints(self) -> list[str]:
        """Those that were not expected."""
        return [each for each in self._complaints if not any(known.search(each) for known in self._expected)]

    def _hear(self, message: Any) -> None:
        place = message.location
        # Browsers ask for an icon at the root of whatever server, also for a file that is no page.
        if message.type == "error" and not place.get("url", "").endswith("/favicon.ico"):
            self._complaints.append(f"{message.text} ({place.get('url')}:{place.get('lineNumber')})")


def assert_accessible(
    page: Page, within: str | None = None, *, but: tuple[str, ...] = (), only: tuple[str, ...] = ()
) -> None:
    """Fail where axe-core finds serious or critical faults on the page as it is now.

    `within` is a CSS selector; `but` names rules that do not count, and whoever names one says why; `only` those that
    can find anything new on a page that was looked at already.
    """
    options: dict[str, Any] = {"resultTypes": ["violations"], "rules": {rule: {"enabled": False} for rule in but}}
    if only:
        options["runOnly"] = list(only)
    # It is large: a page that has it is not given it again.
    axe = Axe(axe_script="null") if page.evaluate("'axe' in window") else Axe()
    found = axe.run(page, within, options).response["violations"]
    lines: list[str] = []
    for fault in found:
        if fault["impact"] in GRAVE:
            lines.append(f"{fault['impact']}: {fault['help']} ({fault['id']}, {fault['helpUrl']})")
            for node in fault["nodes"]:
                lines.append(f"    {' '.join(map(str, node['target']))}: {node['html'][:200]}")
                lines += [f"        {each['message']}" for each in node["any"] + node["all"] + node["none"]]
    if lines:
        pytest.fail("\n".join([f"{page.url} is not accessible:", *lines]), pytrace=False)
