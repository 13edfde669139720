"""What a form for others in an example's places must say: that of a plugin ranks as simulations do."""

import numpy as np
import pytest

import gptfl
from gptfl.core.replacement_form import ReplacementForm
from gptfl.influence import simulated
from gptfl.plugins.registry import build, using
from tests import ranking_estimators, replacement_forms
from tests.ranked import write


@pytest.mark.parametrize("on", ["mean", "self"])
def test_a_form_by_its_definition_ranks_as_simulating_does(tmp_path, monkeypatch, on) -> None:
    space = write(tmp_path)
    with using(build([ranking_estimators, replacement_forms])):
        for name in ("kin", "plain"):
            gptfl.fit(name, workspace=space)
        expected = gptfl.rank(workspace=space, estimators=["kin"], on=on, how="replace", orders=3)
        monkeypatch.setattr(simulated, "_influence", None)  # nothing is simulated by itself
        found = gptfl.rank(workspace=space, estimators=["plain"], on=on, orders=3)
    np.testing.assert_allclose(found.rankings[0].influence, expected.rankings[0].influence, rtol=1e-9, atol=1e-12)
    assert np.ptp(found.rankings[0].influence) > 1e-4


def test_the_plain_form_answers_all_that_is_asked() -> None:
    asked = {name for name in vars(ReplacementForm) if not name.startswith("_")}
    assert asked == {name for name in vars(replacement_forms.PlainForm) if not name.startswith("_")} - {"ends"}
