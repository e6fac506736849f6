"""One page in headless Chromium, over the debugging pipe: no driver and no package is needed. What is looked for is left to check.py."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]


class Browser:
    """A browser with one tab. Use it in a `with` statement, which ends it."""

    def __init__(self, program=None):
        program = program or os.environ.get("CHROMIUM") or next(filter(shutil.which, NAMES), None)
        if program is None:
            raise SystemExit("no Chromium is installed: apt-get install chromium, or set CHROMIUM to its path")
        self.profile = tempfile.mkdtemp(prefix="aludel-browser-")
        (theirs, self.to), (self.back, ours) = os.pipe(), os.pipe()

        def hand_over():
            # Copies first: either end may itself be 3 or 4.
            first, second = os.dup(theirs), os.dup(ours)
            os.dup2(first, 3)
            os.dup2(second, 4)

        options = ["--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu", "--hide-scrollbars"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            options.append("--no-sandbox")  # Chromium refuses its sandbox to root
        self.process = subprocess.Popen(
            [program, *options, f"--user-data-dir={self.profile}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False, preexec_fn=hand_over,
        )
        os.close(theirs)
        os.close(ours)
        self.buffer, self.events, self.number, self.session = b"", [], 0, None
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target for target in targets if target["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        self.version = self.call("Browser.getVersion")["product"]
        for domain in ["Page", "Runtime", "Log", "Network"]:
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)

    def _message(self, seconds=60):
        until = time.monotonic() + seconds
        while b"\0" not in self.buffer:
            if not select.select([self.back], [], [], max(0.0, until - time.monotonic()))[0]:
                raise SystemExit("the browser does not answer")
            got = os.read(self.back, 1 << 20)
            if not got:
                raise SystemExit("the browser ended")
            self.buffer += got
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **parameters):
        """A command's result; events that come before it are kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise SystemExit(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def value(self, expression, promised=False):
        """What an expression gives in the page, waiting for it if it is promised."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=promised)
        if "exceptionDetails" in answer:
            raise SystemExit(f"in the page: {json.dumps(answer['exceptionDetails'])[:600]}")
        return answer["result"].get("value")

    def open(self, url, width, dark):
        """Loads a page at a width; the seconds until its load event, as a reader would wait for them."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="screen", features=[scheme])
        self.events.clear()
        begun = time.monotonic()
        self.call("Page.navigate", url=url)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._message())
        # Painted, too: the second frame after the load event has been shown.
        self.call("Runtime.evaluate", awaitPromise=True,
                  expression="new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return time.monotonic() - begun

    def complaints(self):
        """Errors and warnings of the console, exceptions, and requests for anything but the page itself."""
        found, pages = [], 0
        for event in self.events:
            method, data = event.get("method"), event.get("params", {})
            if method == "Log.entryAdded" and data["entry"]["level"] in ("error", "warning"):
                found.append(data["entry"]["text"])
            elif method == "Runtime.consoleAPICalled" or method == "Runtime.exceptionThrown":
                found.append(json.dumps(data)[:300])
            elif method == "Network.requestWillBeSent":
                pages += 1
                if pages > 1:
                    found.append(f"it asks for {data['request']['url']}")
        return found

    def screenshot(self, path, tallest=12_000):
        """The page from its top on; of one that is taller than browsers draw, the beginning."""
        width, height = self.value("[document.documentElement.clientWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": width, "height": min(height, tallest), "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))
