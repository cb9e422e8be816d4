"""Open a page in headless Chromium, over the pipe of its DevTools protocol: no other package is needed."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

#: The program, or `None` if it is not installed.
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

_SECONDS = 30.0  # for a command, and for loading a page

#: Give a program the descriptors 3 and 4. They are copied to high numbers first, because they could be each other's.
_EXEC = """
import os, sys
from fcntl import F_DUPFD, fcntl
reader, writer = (fcntl(int(each), F_DUPFD, 100) for each in sys.argv[1:3])
os.dup2(reader, 3)
os.dup2(writer, 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Page:
    """One tab of a browser of its own, whose profile is in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        assert CHROMIUM is not None
        self.events: list[dict[str, Any]] = []
        self._deadline = 0.0
        self._received = b""
        self._number = 0
        self._session: str | None = None
        reader, self._write = os.pipe()
        self._read, writer = os.pipe()
        options = [
            "--headless",
            "--no-sandbox",  # Chromium as root, or in a container, has no sandbox; it opens the report only
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--remote-debugging-pipe",  # reads commands from descriptor 3, and writes to 4
            f"--user-data-dir={folder}",
        ]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the browser that is installed
                [sys.executable, "-I", "-c", _EXEC, str(reader), str(writer), CHROMIUM, *options, "about:blank"],
                pass_fds=(reader, writer),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "HOME": str(folder)},
                start_new_session=True,
            )
        finally:
            os.close(reader)
            os.close(writer)

    def __enter__(self) -> Page:
        try:
            targets = self.send("Target.getTargets")["targetInfos"]
            target = next(target["targetId"] for target in targets if target["type"] == "page")
            self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.send(f"{domain}.enable")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the browser and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)
        os.close(self._read)
        os.close(self._write)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command, and return its result."""
        self._deadline = time.monotonic() + _SECONDS
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, path: Path, *, width: int, scheme: str) -> None:
        """Show a file with a width in pixels and a colour scheme, ``light`` or ``dark``."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.send("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._receive()

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def _receive(self) -> dict[str, Any]:
        """Return the next message; also append it to `events` if it is an event."""
        while b"\0" not in self._received:
            with selectors.DefaultSelector() as selector:
                selector.register(self._read, selectors.EVENT_READ)
                remaining = self._deadline - time.monotonic()
                if remaining <= 0 or not selector.select(remaining):
                    raise TimeoutError(f"Chromium did not respond within {_SECONDS:.0f} s")
            data = os.read(self._read, 1 << 20)
            if not data:
                raise EOFError("Chromium ended")
            self._received += data
        line, self._received = self._received.split(b"\0", 1)
        message: dict[str, Any] = json.loads(line)
        if "method" in message:
            self.events.append(message)
        return message
