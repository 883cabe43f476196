"""Debian's Chromium without a window, driven by the DevTools protocol over a pipe.

Two descriptors and NUL between JSON messages (`--remote-debugging-pipe`): no port, no
library. Waits are for conditions in the page, never for time.
"""

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PATIENCE = 20.0  # seconds for each thing waited for


class Browser:
    """One tab."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._held = b""
        self._number = 0
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Send one command and return its result."""
        self._number += 1
        command: dict[str, Any] = {"id": self._number, "method": method}
        command["params"] = parameters
        if self._session is not None:
            command["sessionId"] = self._session
        os.write(self._commands, json.dumps(command).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def look(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Be a screen of that size (CSS pixels) that likes light or dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url: str) -> None:
        """Go to a page and wait until it and its frames have loaded."""
        self.evaluate("window.isLeft = true")
        self.call("Page.navigate", url=url)
        self.until("!window.isLeft && document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression in the page, promises awaited."""
        answer = self.call(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until an expression is true in the page."""
        deadline = time.monotonic() + _PATIENCE
        while not self.evaluate(f"Boolean({expression})"):
            assert time.monotonic() < deadline, f"waited in vain: {expression}"
            time.sleep(0.02)  # between two questions to another process

    def press(self, key: str, code: int) -> None:
        """Press and let go of a key; `code` is its Windows number."""
        text = {"Enter": "\r"}.get(key)
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                **more,
            )

    def screenshot(self, path: Path) -> None:
        """Write what is seen as PNG."""
        shot = self.call("Page.captureScreenshot")
        path.write_bytes(base64.b64decode(shot["data"]))

    def frame_text(self) -> str:
        """The text of the page's one frame, asked in a world of its own: a sandboxed
        frame runs no script of the page's."""
        (frame,) = self.call("Page.getFrameTree")["frameTree"]["childFrames"]
        world = self.call("Page.createIsolatedWorld", frameId=frame["frame"]["id"])
        answer = self.call(
            "Runtime.evaluate",
            expression="document.body.innerText",
            contextId=world["executionContextId"],
        )
        return str(answer["result"]["value"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._held:
            piece = os.read(self._answers, 65_536)
            assert piece, "the browser ended"
            self._held += piece
        message, _, self._held = self._held.partition(b"\0")
        return dict(json.loads(message))


@contextmanager
def browser(directory: Path) -> Iterator[Browser]:
    """Run Chromium with a profile in `directory`."""
    commands_out, commands_in = os.pipe()
    answers_out, answers_in = os.pipe()
    with (directory / "chromium.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "/bin/bash",  # sh takes descriptors of one digit alone
                "-c",
                f'exec "$@" 3<&{commands_out} 4>&{answers_in}',
                "bash",
                "chromium",
                *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update"),
                *("--disable-dev-shm-usage", "--remote-debugging-pipe"),
                # A frame in a process of its own would be another target than the page.
                "--disable-features=IsolateSandboxedIframes",
                f"--user-data-dir={directory / 'profile'}",
                "about:blank",
            ],
            pass_fds=(commands_out, answers_in),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    os.close(commands_out)
    os.close(answers_in)
    try:
        yield Browser(commands_in, answers_out)
    finally:
        os.close(commands_in)  # the end of the pipe ends the browser
        os.close(answers_out)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
