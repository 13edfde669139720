"""What is gathered for a page, with and without a simulator."""

import shutil

import numpy as np
import pytest

from gptfl.api.page_parts import gathered, opened_for_page
from gptfl.core import silent
from gptfl.core.linear_form import LinearForm
from gptfl.options.base import make
from gptfl.options.report import ReportOptions
from gptfl.report.page.content import RemoteForm
from tests.api.sides import POOL, write


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    return write(tmp_path_factory.mktemp("parts"))


def test_a_page_has_arrays_unless_something_else_answers(space):
    options = make(ReportOptions, workspace=space, no_comparison=True)
    opened = opened_for_page(options)
    parts = gathered(options, opened, silent).parts
    assert isinstance(parts.form, LinearForm)
    assert (len(parts.pool), parts.comparison) == (POOL, None)
    remote = RemoteForm(np.array([0, 12]), 1.6, bounds=True)
    found = gathered(options, opened, silent, lambda source: (remote, "words")).parts
    assert (found.form, found.form_note) == (remote, "words")
    assert found.average.shape[0] == 2


def test_without_a_simulator_the_command_that_makes_one_is_missing(space, tmp_path):
    copy = shutil.copytree(space, tmp_path / "copy")
    for path in copy.glob("*.simulator.h5"):
        path.unlink()
    options = make(ReportOptions, workspace=copy, no_comparison=True)
    opened = opened_for_page(options)
    assert opened[1] is None
    assert gathered(options, opened, silent).missing[0][1] == "gptfl featurize && gptfl fit"
