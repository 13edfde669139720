"""A recording of known worths, of rows from three sources, with a process fitted to it."""

from dataclasses import replace
from pathlib import Path

import gptfl
from gptfl.core.examples import examples_fingerprint
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from tests.worths import recording_of_worths

SOURCES = ("books", "web", "mail")
POOL, TEST = 24, 8


def write(folder: Path) -> Path:
    """The recording, its features and a simulator in a folder."""
    dynamics, features, _ = recording_of_worths(3, runs=12, pool=POOL, test=TEST, subset=8, steps=12)
    pool = tuple(
        replace(one, fields={"source": SOURCES[place % 3], "number": place}, digest="")
        for place, one in enumerate(dynamics.pool)
    )
    dynamics = replace(dynamics, pool=pool)
    features = replace(features, examples=examples_fingerprint(pool, dynamics.test))
    write_dynamics(folder / "worths.dynamics.h5", dynamics)
    write_features(folder / "worths.synthetic.features.h5", features)
    gptfl.fit("exposure-gp", workspace=folder)
    tests = [one.id for one in dynamics.test]
    (folder / "target.txt").write_text("\n".join(tests[:3]) + "\n")
    (folder / "retain.txt").write_text("\n".join(tests[3:7]) + "\n")
    return folder
