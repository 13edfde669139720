"""What a fit warned of is told by every answer of its simulator."""

from dataclasses import replace
from pathlib import Path

import gptfl
from gptfl.store.simulators import read_simulator, write_simulator
from tests.ranked import IDS, use_kin, write

ODD = "bayes: gradients say too much of one row"


def test_every_answer_says_what_the_fit_warned_of(tmp_path: Path) -> None:
    space = write(tmp_path)
    with use_kin():
        path = gptfl.fit("bayes", workspace=space).path
        found = read_simulator(path)
        write_simulator(path, replace(found, info={**found.info, "notes": [ODD]}))
        answers = (
            gptfl.rank(workspace=space),
            gptfl.rank(workspace=space, purpose="cleaning"),
            gptfl.select(3, workspace=space, search=0),
            gptfl.simulate(subset=IDS[:6], workspace=space),
            gptfl.simulate(drop=IDS[:2], workspace=space),
        )
    for answer in answers:
        assert ODD in answer.notes, type(answer).__name__
