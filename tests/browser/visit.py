"""A page that is open in a browser which reaches nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
NEEDS_CHROMIUM = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no `chromium` on the path: apt-get install chromium"),
]
SCREENS: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 900}},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "device_scale_factor": 2},
    "small phone": {"viewport": {"width": 320, "height": 600}, "is_mobile": True, "color_scheme": "dark"},
}


class Visit:
    """A page that is open, and what happened on it."""

    def __init__(self, browser: Any, path: Path, *, until: str = ".plot svg.main-svg .bars path", **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(dialog.message))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.url = path.as_uri()
        self.page.goto(self.url)
        self.page.wait_for_selector(until, state="attached")

    def ask(self, script: str) -> Any:
        return self.page.evaluate(script)

    def violations(self) -> list[str]:
        """Return what axe finds at fault with the page, all that can be unfolded unfolded."""
        from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it brings no types

        self.ask("document.querySelectorAll('details').forEach(details => { details.open = true; })")
        found = Axe().run(self.page).response
        assert "color-contrast" in [rule["id"] for rule in found["passes"]]
        return [f"{rule['id']}: {node['html'][:200]}" for rule in found["violations"] for node in rule["nodes"]]

    def close(self) -> None:
        self.context.close()
        assert self.said == []
        assert self.asked == [self.url]
