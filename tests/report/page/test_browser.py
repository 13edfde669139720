"""The page in a real browser: numbers, switches, hostile texts, keyboard. Skips where there is no Chromium."""

import numpy as np
import pytest

import gptfl

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


class Shown:
    """A page opened from disk with no network, and all that its console said."""

    def __init__(self, browser, path, width=1200, height=900, hash=""):
        self.context = browser.new_context(viewport={"width": width, "height": height}, offline=True)
        self.said = []
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on(
            "request", lambda request: request.url.startswith(("file:", "blob:")) or self.said.append(request.url)
        )
        self.page.goto(path.as_uri() + hash)
        self.page.wait_for_selector("html[data-ready=yes]")

    def predicted(self, members):
        """What the page computes for a subset of places."""
        return self.page.evaluate(
            """(members) => {
                 const on = new Uint8Array(gptfl.data.pool.length);
                 for (const one of members) on[one] = 1;
                 const found = gptfl.form.predict(on);
                 return {values: [...found.values], low: [...found.low], high: [...found.high], novelty: found.novelty,
                         spread: gptfl.form.differenceSpread(on, null)};
               }""",
            [int(one) for one in members],
        )


@pytest.fixture
def shown(browser, hostile):
    """The page of a recording of hostile texts."""
    made = Shown(browser, gptfl.write_report(workspace=hostile, no_comparison=True).path)
    yield made
    made.context.close()


def test_numbers_are_those_of_simulate(shown, hostile):
    simulator = gptfl.open_simulator(workspace=hostile)
    ids = [one.id for one in gptfl.open_recording(workspace=hostile).pool]
    random = np.random.default_rng(1)
    # How far subsets of the recorded size move test examples.
    some = simulator.simulate_many([random.permutation(ids)[:8].tolist() for _ in range(20)])
    spread = some.final.std(axis=0).mean()
    for size in (1, 4, 8, 15, 16):
        members = np.sort(random.permutation(16)[:size])
        truth = simulator.simulate([ids[one] for one in members], every_order=True)
        found = shown.predicted(members)
        low, high = truth.prediction.intervals[0.9]
        for name, expected in (("values", truth.values[0]), ("low", low[0]), ("high", high[0])):
            assert np.abs(np.reshape(found[name], expected.shape) - expected).max() < 1e-3 * spread, (name, size)
        assert found["novelty"] == pytest.approx(truth.novelty[0], abs=1e-3)


def test_switches_move_the_answer(shown, hostile):
    page = shown.page
    before = page.inner_text("#headline")
    page.click("#row-3")
    sync_api.expect(page.locator("#count")).to_have_text("15 of 16 on")
    sync_api.expect(page.locator("#headline")).not_to_have_text(before)
    ids = [one.id for one in gptfl.open_recording(workspace=hostile).pool]
    expected = gptfl.open_simulator(workspace=hostile).simulate(drop=[ids[3]], every_order=True)
    number = float(page.inner_text("#headline strong"))
    assert number == pytest.approx(expected.mean_final, rel=1e-3)
    assert "&off=C&" in page.url
    again = page.url.partition("#")[2]
    other = shown.context.new_page()
    other.goto(page.url.partition("#")[0] + "#" + again)
    other.wait_for_selector("html[data-ready=yes]")
    assert other.inner_text("#count") == "15 of 16 on"
    assert shown.said == []


def test_groups_presets_and_search(shown):
    page = shown.page
    page.click("summary:has-text('Whole groups')")
    page.click("text='web (8)'")
    sync_api.expect(page.locator("#count")).to_have_text("8 of 16 on")
    page.click("text='what is on becomes off'")
    sync_api.expect(page.locator("#count")).to_have_text("8 of 16 on")
    page.click("#presets >> text='none'")
    sync_api.expect(page.locator("#headline")).to_contain_text("Nothing is on")
    page.click("#presets >> text='all'")
    page.fill("#search", "number 7")
    assert page.inner_text("#found") == "1 of 16 shown"
    page.fill("#search", "")
    page.select_option("#filter-group", label="a<b>")
    assert page.inner_text("#found") == "8 of 16 shown"
    assert shown.said == []


def test_hostile_texts_are_shown_and_do_nothing(shown):
    page = shown.page
    page.click("[aria-label='text of train-1']")
    assert "</script><script>window.broken = 2</script> number 1" in page.inner_text("#text-body")
    page.click("#text-close")
    for tab in ("matrix", "suspects", "trust", "about"):
        page.click(f"[data-tab={tab}]")
    assert page.evaluate("window.broken") is None
    assert page.locator("main img").count() == 0
    assert shown.said == []


def test_a_script_put_into_the_page_is_stopped_by_its_policy(browser, hostile):
    made = gptfl.write_report(workspace=hostile, no_comparison=True).path
    made.write_text(
        made.read_text().replace(
            "</main>", "<script>window.broken = 9</script><img src=x onerror='window.broken=8'></main>"
        )
    )
    shown = Shown(browser, made)
    assert shown.page.evaluate("window.broken") is None
    assert any("Content Security Policy" in line for line in shown.said)
    shown.context.close()


def test_the_matrix_by_keyboard_and_suspects_to_a_patch(shown):
    page = shown.page
    page.focus("[data-tab=explore]")
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("[data-tab=matrix]", "aria-selected") == "true"
    page.focus("#matrix-canvas")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    said = page.inner_text("#pair strong")
    value = page.evaluate("gptfl.matrix.value(1, 1)")
    assert said.startswith("train-")
    assert f"{abs(value):.2g}"[:3] in said
    page.click("[data-tab=suspects]")
    page.click("[data-suspect] >> nth=0 >> text='drop'")
    assert page.inner_text("#patch") == "1 row to drop"
    first = page.evaluate("gptfl.data.suspects[0].row")
    page.click("#drop-try")
    sync_api.expect(page.locator("#count")).to_have_text("15 of 16 on")
    assert page.evaluate(f"gptfl.explorer.on[{first}]") == 0
    assert shown.said == []


def test_every_control_has_a_name(shown):
    nameless = shown.page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, [tabindex='0'], [role=img]")]
             .filter((one) => !(one.textContent.trim() || one.getAttribute("aria-label") || one.labels?.length))
             .map((one) => one.outerHTML.slice(0, 80))"""
    )
    assert nameless == []


@pytest.mark.parametrize(("width", "height"), [(390, 844), (820, 1100), (1400, 900)])
def test_nothing_is_wider_than_the_window(browser, hostile, width, height):
    shown = Shown(browser, gptfl.write_report(workspace=hostile, no_comparison=True).path, width, height)
    for tab in ("explore", "matrix", "suspects", "trust", "about"):
        shown.page.click(f"[data-tab={tab}]")
        wide = shown.page.evaluate(
            """() => [...document.querySelectorAll("body *")].filter((one) => !one.closest(".scroll") && one.getBoundingClientRect().right > innerWidth)
                 .map((one) => one.tagName + one.id + one.className)"""
        )
        assert shown.page.evaluate("document.documentElement.scrollWidth") <= width, (tab, wide)
    assert shown.said == []
    shown.context.close()


@pytest.mark.parametrize(
    ("tab", "panel", "names"),
    [
        ("trust", "trust", {'"skill"', '"inside 90 %"'}),
        ("explore", "explore", {'"90 % interval"', '"change"'}),
        ("matrix", "matrix", {'"effect"', '"90 %"'}),
    ],
)
def test_a_narrow_window_shows_every_column_of_a_table_under_its_name(browser, hostile, tab, panel, names):
    shown = Shown(browser, gptfl.write_report(workspace=hostile).path, 400, 2000, f"#tab={tab}")
    shown.page.wait_for_selector(f"#panel-{panel} tbody td")
    found = shown.page.evaluate(
        """(panel) => [...document.querySelectorAll(`#panel-${panel} tbody td`)].map((one) => {
             const box = one.getBoundingClientRect();
             return {name: getComputedStyle(one, "::before").content, text: one.textContent, left: box.left, right: box.right, wide: one.scrollWidth > one.clientWidth};
           })""",
        panel,
    )
    assert names <= {one["name"] for one in found}
    assert all(0 <= one["left"] < one["right"] <= 400 and not one["wide"] for one in found), found
    shown.page.set_viewport_size({"width": 1200, "height": 900})
    first = f"getComputedStyle(document.querySelector('#panel-{panel} tbody td'), '::before').content"
    assert shown.page.evaluate(first) == "none"
    assert shown.said == []
    shown.context.close()


def test_effects_of_other_estimators_are_added_up_and_said_to_be(browser, hostile):
    for path in hostile.glob("*.simulator.h5"):
        path.unlink()
    gptfl.fit("class-share", workspace=hostile)
    shown = Shown(browser, gptfl.write_report(workspace=hostile, no_comparison=True).path)
    simulator = gptfl.open_simulator(workspace=hostile)
    ids = [one.id for one in gptfl.open_recording(workspace=hostile).pool]
    whole, *less = (
        simulator.simulate(some, orders=4).values.astype(float).mean(axis=0)
        for some in (ids, ids[1:], [one for one in ids if one != ids[5]])
    )
    found = shown.predicted([one for one in range(16) if one not in (0, 5)])
    expected = whole + sum(one - whole for one in less)
    np.testing.assert_allclose(np.reshape(found["values"], expected.shape), expected, atol=1e-4)
    assert "added up: what several do together may be another thing" in shown.page.inner_text("#panel-explore")
    assert "[" not in shown.page.inner_text("#headline"), "no interval is told"
    assert shown.said == []
    shown.context.close()


def test_a_recording_without_texts_has_a_page_of_ids(browser, hostile):
    from dataclasses import replace

    from gptfl.core.examples import without_texts
    from gptfl.store.recordings import read_dynamics, write_dynamics

    dynamics = read_dynamics(hostile / "syn.dynamics.h5")
    pool, test = without_texts(dynamics.pool, dynamics.test)
    (hostile / "syn.dynamics.h5").unlink()
    write_dynamics(hostile / "syn.dynamics.h5", replace(dynamics, pool=pool, test=test))
    shown = Shown(browser, gptfl.write_report(workspace=hostile, no_comparison=True).path)
    page = shown.page
    assert page.inner_text("#examples .short >> nth=0") == "train-0"
    page.click("[aria-label='text of train-1']")
    assert "The recording keeps no texts." in page.inner_text("#text-body")
    assert shown.said == []
    shown.context.close()


def test_a_page_of_one_result_opens_its_texts_and_trajectories(browser, hostile, tmp_path):
    simulator = gptfl.open_simulator(workspace=hostile)
    shown = Shown(browser, gptfl.save(gptfl.rank(workspace=hostile), tmp_path / "rank.html"))
    first = gptfl.rank(workspace=hostile).rankings[0].order[0]
    assert shown.page.locator("[role=tab]").all_inner_texts() == ["Ranking", "About"]
    shown.page.click("[data-example] >> nth=0")
    assert f"number {first}:" in shown.page.inner_text("#text-body")
    shown.page.click("#text-close")
    shown.page.click("[data-tab=about]")
    assert "gptfl.save, of a RankResult" in shown.page.inner_text("#panel-about")
    assert shown.page.evaluate("window.broken") is None
    assert shown.said == []
    shown.context.close()
    simulated = simulator.simulate()
    shown = Shown(browser, gptfl.save(simulated, tmp_path / "simulation.html"))
    shown.page.click("#held-next")
    said = shown.page.get_attribute("#held-chart", "aria-label")
    assert f"{simulated.tests[0]}: predicted {simulated.values[0, -1, 0]:.4g}"[:22] in said
    assert shown.said == []
    shown.context.close()
