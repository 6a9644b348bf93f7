"""The service worker of docs/web.md keeps an exported page for use without a network."""

import re
import shutil

import pytest
from web_browser import ROOT, SENTENCES, served

pytest.importorskip("playwright.sync_api", reason="no Playwright here")


@pytest.fixture
def app(exported, tmp_path):
    """The files of docs/web.md beside an exported page."""
    text = (ROOT / "docs" / "web.md").read_text("utf-8")
    for file, comment in (("index.html", "<!-- index.html -->"), ("sw.js", "// sw.js")):
        (code,) = re.findall(rf"^```\w+\n{comment}\n(.*?)^```", text, re.M | re.S)
        (tmp_path / file).write_text(code, "utf-8")
    shutil.copytree(exported / "single", tmp_path / "web")
    return tmp_path


def test_the_app_works_offline_and_is_updated(app, chromium):
    exported_page = app / "web" / "index.html"
    with served(app) as address, chromium.new_context() as context:
        page = context.new_page()

        def translation():
            page.goto(address)
            frame = page.frame_locator("iframe")
            frame.locator("#progress").wait_for(state="hidden")
            frame.locator("#text").fill(SENTENCES[0])
            frame.locator("#results[aria-busy=false] .page-translation").wait_for()
            return frame.locator(".page-translation").inner_text()

        online = translation()
        page.evaluate("navigator.serviceWorker.ready")
        assert online
        context.set_offline(True)
        assert translation() == online
        context.set_offline(False)
        text = exported_page.read_text("utf-8")
        exported_page.write_text(text.replace('id="title">Translation', 'id="title">New'), "utf-8")
        for offline in (False, True):
            context.set_offline(offline)
            assert translation() == online
            assert page.frame_locator("iframe").locator("h1").inner_text() == "New"
