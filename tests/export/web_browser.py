"""An exported page in a browser, for the tests of its behaviour."""

import contextlib
import functools
import http.server
import json
import threading
from pathlib import Path

from questions import TEXTS

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "build" / "screenshots"
LIMITS = {"max_source_length": 24, "max_target_length": 12}
SENTENCES = [text for text in TEXTS if text.strip()]


@contextlib.contextmanager
def served(folder):
    """The address of a server of the folder."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


class WebPage:
    """An exported page in a browser."""

    def __init__(self, page, address):
        self.page = page
        self.problems = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda message: self.problems.append(message.text))
        page.on("request", functools.partial(self._check_origin, address))
        page.goto(address)
        page.locator("#progress").wait_for(state="hidden")

    def _check_origin(self, address, request):
        if not request.url.startswith((address, "blob:", "data:")):
            self.problems.append(f"a request to {request.url}")

    def type(self, text):
        self.page.fill("#text", text)
        self.wait()

    def wait(self):
        self.page.locator("#results[aria-busy=false]").wait_for(state="attached")

    def translations(self):
        return self.page.locator(".page-translation").all_inner_texts()

    def json(self):
        with self.page.expect_download() as download:
            self.page.get_by_role("button", name="Download as JSON").click()
        return json.loads(download.value.path().read_text("utf-8"))

    def screenshot(self, name):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"web_{name}.png", full_page=True)
