"""A headless Chromium, driven by the WebDriver protocol: JSON over HTTP to Debian's chromedriver, and nothing else."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""Under this key WebDriver names an element."""
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars")
PHONE, SCREEN = (390, 844), (1280, 900)


class Browser:
    """One page."""

    def __init__(self, port: int) -> None:
        self.root = f"http://127.0.0.1:{port}"
        options = {"binary": shutil.which("chromium"), "args": list(FLAGS)}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self._post("/session", {"capabilities": {"alwaysMatch": wanted}})
        self.root += f"/session/{made['sessionId']}"

    def open(self, page: Path, size: tuple[int, int] = SCREEN, scheme: str = "light") -> None:
        """Show a file on a screen of ``size``, in a system that prefers the ``scheme``."""
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        self.tell("Emulation.setDeviceMetricsOverride", metrics)
        self.tell("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        self._post("/url", {"url": page.absolute().as_uri()})

    def tell(self, command: str, parameters: dict[str, Any]) -> Any:
        """A command of the DevTools protocol."""
        return self._post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def run(self, script: str, *values: Any) -> Any:
        """What a script of the page's own language returns; ``arguments`` are the values."""
        return self._post("/execute/sync", {"script": script, "args": list(values)})

    def find(self, selector: str) -> str:
        """The first element."""
        return str(self._post("/element", {"using": "css selector", "value": selector})[ELEMENT])

    def click(self, selector: str) -> None:
        """As a user does: the element must be in view and not be covered."""
        self._post(f"/element/{self.find(selector)}/click", {})

    def hover(self, selector: str, dx: int = 0) -> None:
        """Move the pointer to an element's middle, and ``dx`` to the right of it."""
        self.run("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", selector)
        self.run("return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        where = {"type": "pointerMove", "duration": 0, "origin": {ELEMENT: self.find(selector)}, "x": dx, "y": 0}
        self._post("/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": [where]}]})

    def texts(self, selector: str) -> list[str]:
        """The text of every element."""
        script = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)"
        found: list[str] = self.run(script, selector)
        return found

    def errors(self) -> list[str]:
        """What the browser complained of since the last call: errors of scripts, and what the page's policy refused."""
        return [entry["message"] for entry in self._post("/se/log", {"type": "browser"})]

    def picture(self, path: Path) -> None:
        """The whole page as a PNG."""
        shot = self.tell("Page.captureScreenshot", {"captureBeyondViewport": True})
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        """End the browser."""
        with urlopen(Request(self.root, method="DELETE"), timeout=60):
            pass

    def _post(self, path: str, body: Any) -> Any:
        head = {"Content-Type": "application/json"}
        with urlopen(Request(self.root + path, json.dumps(body).encode(), head), timeout=120) as answer:
            return json.load(answer)["value"]


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser, and the driver that it needs, while the block runs."""
    words = [str(shutil.which("chromedriver")), "--port=0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as driver:
        try:
            found = Browser(_port(driver))
            try:
                yield found
            finally:
                found.close()
        finally:
            driver.terminate()


def _port(driver: subprocess.Popen[str]) -> int:
    """The driver says which free one it took."""
    assert driver.stdout is not None
    end = time.monotonic() + 60
    for line in driver.stdout:
        if "started successfully on port" in line:
            return int(line.rsplit(" ", 1)[1].rstrip(".\n"))
        assert time.monotonic() < end
    raise AssertionError(f"chromedriver ended with {driver.wait()}")
