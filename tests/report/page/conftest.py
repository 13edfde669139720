"""A recording whose texts are hostile to a page, with a simulator of it."""

import shutil
from pathlib import Path

import pytest

HOSTILE = (
    "<script>window.broken = 1</script>",
    "</script><script>window.broken = 2</script>",
    '<img src="x" onerror="window.broken = 3">',
    "<!-- <script> a comment that opens",
    "\u2028 & &lt; \"quoted\" 'single' \x1b[31mred",
)


@pytest.fixture(scope="module")
def browser():
    """One Chromium for the tests of a module; without its sandbox, which root can't have. They skip where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium is installed (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def made_hostile(tmp_path_factory):
    """What ``hostile`` is a copy of."""
    from dataclasses import replace

    import gptfl
    from gptfl.core import Features
    from gptfl.store.features import write_features
    from gptfl.store.recordings import write_dynamics
    from tests.synthetic import synthetic

    folder = tmp_path_factory.mktemp("hostile")
    dynamics, features = synthetic(10, pool=16, test=6)
    pool = tuple(
        replace(
            one,
            prompt=f"{HOSTILE[place % 5]} number {place}:",
            digest="",
            fields={"source": ("a<b>", "web")[place % 2]},
        )
        for place, one in enumerate(dynamics.pool)
    )
    tests = tuple(
        replace(one, prompt=f"{HOSTILE[place % 5]} {place}", digest="") for place, one in enumerate(dynamics.test)
    )
    dynamics = replace(dynamics, pool=pool, test=tests)
    features = Features(features.encoder, features.identity, dynamics.examples, features.sets)
    write_dynamics(folder / "syn.dynamics.h5", dynamics)
    write_features(folder / "syn.synthetic.features.h5", features)
    gptfl.fit("exposure-gp", workspace=folder)
    return folder


@pytest.fixture
def hostile(made_hostile, tmp_path):
    """A workspace with a recording of hostile texts and an exposure-gp simulator of it."""
    return Path(shutil.copytree(made_hostile, tmp_path / "work"))


@pytest.fixture(scope="session")
def fitted(made_hostile):
    """What is fitted to that recording."""
    from types import SimpleNamespace

    from gptfl.simulation.simulator import open_fitted

    return SimpleNamespace(source=open_fitted(None, None, made_hostile, None, None))
