"""Pages as a browser draws them: Chromium without a window, told what to do by its own chromedriver.

Both come with a distribution's package (``apt install chromium chromium-driver``); nothing else is needed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage")


@dataclass
class Browser:
    """A page of a running Chromium; ``session`` is its address at the driver."""

    session: str

    def call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return post(f"{self.session}/{path}", body)

    def devtools(self, command: str, **parameters: object) -> None:
        self.call("goog/cdp/execute", {"cmd": command, "params": parameters})

    def resize(self, width: int, height: int) -> None:
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def prefer(self, scheme: str) -> None:
        """``light`` or ``dark``, as the system would say it."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.devtools("Emulation.setEmulatedMedia", features=[feature])

    def open(self, address: str) -> None:
        self.call("url", {"url": address})

    def run(self, script: str) -> Any:
        """What the body of a function in JavaScript returns."""
        return self.call("execute/sync", {"script": script, "args": []})

    def wait_for(self, script: str, seconds: float = 120.0) -> Any:
        """Until the script returns something true, and that."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := self.run(script):
                return value
            time.sleep(0.25)
        raise TimeoutError(f"after {seconds:.0f} s still not: {script}")

    def wait_until_still(self, seconds: float = 120.0) -> None:
        """Until two pictures, a second apart, are the same."""
        end, before = time.monotonic() + seconds, ""
        while time.monotonic() < end:
            now = self.call("screenshot")
            if now == before:
                return
            before = now
            time.sleep(1.0)
        raise TimeoutError(f"after {seconds:.0f} s the page still moves")

    def photograph(self, picture: Path) -> None:
        self.wait_until_still()
        picture.write_bytes(base64.b64decode(self.call("screenshot")))


def post(address: str, body: dict[str, Any] | None, method: str = "") -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        address, data, {"Content-Type": "application/json"}, method=method or ("POST" if data else "GET")
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)["value"]


def find_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@contextlib.contextmanager
def serving(
    command: list[str], address: str, seconds: float = 120.0, cwd: Path | None = None
) -> Iterator[None]:
    """A server that runs until the block ends; it is there once ``address`` answers."""
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + seconds
        while True:
            if process.poll() is not None:
                sys.exit(f"{' '.join(command)} ended at once, with exit code {process.returncode}")
            with contextlib.suppress(OSError):
                urllib.request.urlopen(address, timeout=10).close()
                break
            if time.monotonic() > end:
                raise TimeoutError(f"{' '.join(command)} does not answer")
            time.sleep(0.25)
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def browsing() -> Iterator[Browser]:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if not (browser and driver):
        sys.exit("pictures of pages are taken by Chromium: it and chromedriver have to be on the PATH")
    port = find_free_port()
    root = f"http://127.0.0.1:{port}"
    with serving([driver, f"--port={port}", "--silent"], f"{root}/status"):
        options = {"goog:chromeOptions": {"binary": browser, "args": list(FLAGS)}}
        made = post(f"{root}/session", {"capabilities": {"alwaysMatch": options}})
        page = Browser(f"{root}/session/{made['sessionId']}")
        try:
            yield page
        finally:
            post(page.session, None, "DELETE")
