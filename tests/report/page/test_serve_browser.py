"""The page of ``gptfl serve`` in a real browser: it asks its server for all that it shows. Skips where there is no Chromium."""

import threading

import pytest

import gptfl
from gptfl.api.serve import page_server
from gptfl.options.base import make
from gptfl.options.report import ServeOptions

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.fixture
def server(hostile):
    """A server of a recording of hostile texts."""
    made = page_server(make(ServeOptions, workspace=hostile, no_comparison=True))
    threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


class Served:
    """A page opened from a server, all that its console said, and where it went."""

    def __init__(self, browser, server):
        self.context = browser.new_context(viewport={"width": 1200, "height": 900})
        self.page, self.said, self.went = self.context.new_page(), [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.went.append(request.url))
        self.page.goto(server.url)
        self.page.wait_for_selector("html[data-ready=yes]")
        self.page.wait_for_selector("#headline strong")


@pytest.fixture
def shown(browser, server):
    made = Served(browser, server)
    yield made
    made.context.close()


def test_a_switch_asks_the_server(shown, server, hostile):
    page = shown.page
    before = page.inner_text("#headline")
    page.wait_for_selector("#row-3")
    page.click("#row-3")
    sync_api.expect(page.locator("#count")).to_have_text("15 of 16 on")
    sync_api.expect(page.locator("#headline")).not_to_have_text(before)
    ids = [one.id for one in gptfl.open_recording(workspace=hostile).pool]
    expected = gptfl.open_simulator(workspace=hostile).simulate(drop=[ids[3]], every_order=True)
    assert float(page.inner_text("#headline strong")) == pytest.approx(expected.mean_final, rel=1e-3)
    assert server.answered >= 2
    page.select_option("#against", "pool")
    sync_api.expect(page.locator("#headline")).to_contain_text("from the whole pool (16)")
    low, high = expected.change_intervals[0.9]
    text = page.inner_text("#headline").replace("\u2212", "-")
    shown_low, shown_high = (float(one) for one in text.partition("[")[2].partition("]")[0].split(","))
    assert (shown_low, shown_high) == pytest.approx((low, high), rel=0.02)
    page.click("#presets >> text='none'")
    sync_api.expect(page.locator("#headline")).to_contain_text("Nothing is on")
    assert shown.said == []
    assert all(url.startswith(server.url) for url in shown.went)


def test_rows_texts_and_effects_come_when_they_are_looked_at(shown, server):
    page = shown.page
    page.wait_for_selector("#examples .short:has-text('number 1')")
    assert not any("texts?rows=1" in url for url in shown.went if url.endswith("rows=1"))
    page.click("[aria-label='text of train-1']")
    sync_api.expect(page.locator("#text-body")).to_contain_text("</script><script>window.broken = 2</script> number 1")
    page.click("#text-close")
    page.fill("#search", "number 7")
    sync_api.expect(page.locator("#found")).to_have_text("1 of 16 shown")
    page.click("[data-tab=matrix]")
    page.wait_for_selector("#pairs-helpful tr")
    page.focus("#matrix-canvas")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    sync_api.expect(page.locator("#pair strong")).to_contain_text("train-")
    parts = server.page.parts
    value = parts.matrix.mean[parts.matrix.rows[1], parts.matrix.columns[1]]
    assert page.evaluate("gptfl.matrix.value(1, 1)") == pytest.approx(float(value), rel=1e-5)
    page.click("[data-tab=suspects]")
    page.click("[data-suspect] >> nth=0 >> text='drop'")
    page.click("#drop-try")
    sync_api.expect(page.locator("#count")).to_have_text("15 of 16 on")
    with page.expect_download() as saved:
        page.click("#save-ids")
    assert len(saved.value.path().read_text().splitlines()) == 15
    assert page.evaluate("window.broken") is None
    assert shown.said == []


def test_a_server_that_is_gone_is_said_to_be(browser, server):
    shown = Served(browser, server)
    shown.page.wait_for_selector("#row-3")
    server.shutdown()
    server.server_close()
    shown.page.click("#row-3")
    sync_api.expect(shown.page.locator("#message")).to_contain_text("gptfl serve doesn't answer")
    assert shown.page.locator("#row-3").is_checked() is False
    shown.context.close()
