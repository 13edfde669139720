"""Three recorded runs over twelve examples, whose average goes along straight lines."""

import numpy as np

from gptfl.estimators.exposure_gp.curricula import Curricula
from gptfl.estimators.exposure_gp.recipe_departure import RecordedRecipe
from gptfl.estimators.exposure_gp.requests import RecordedRuns

GRID = np.arange(0, 13, 3)


RATES = np.full(12, 0.5)


RANDOM = np.random.default_rng(0)


BATCHES = np.stack([RANDOM.permuted(np.tile(np.arange(12), (12, 1)), axis=1)[:, :4] for _ in range(3)])


RUNS = Curricula(BATCHES, np.tile(RATES, (3, 1)))


CENTRE = np.stack([3 - 0.1 * GRID, 2 + 0.05 * GRID, np.ones(5)], axis=1)


RECIPE = RecordedRecipe(RecordedRuns(RUNS, GRID, np.zeros((3, 5, 3)), 12), np.tile(CENTRE, (3, 1, 1)))
