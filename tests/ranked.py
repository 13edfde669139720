"""A recording to rank, with flipped labels, and influences by plain loops."""

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np

from gptfl.core import Example, Query
from gptfl.influence.simulated import typical_recipe
from gptfl.influence.trials import drops, replacements
from gptfl.plugins.registry import Registry, build, using
from gptfl.simulation.schedule import first_scores
from gptfl.store.features import write_features
from gptfl.store.recordings import write_dynamics
from tests import ranking_estimators
from tests.synthetic import synthetic

POOL, TEST = 14, 5
DYNAMICS, FEATURES = synthetic(runs=10, pool=POOL, test=TEST, subset=6, batch_size=3, steps=8, every=2)
IDS = [example.id for example in DYNAMICS.pool]
TESTS = [example.id for example in DYNAMICS.test]
FLIPS = [1, 4, 5, 9, 12]


def flip(example: Example) -> Example:
    label = 1 - (example.label or 0)
    fields = {"flipped": True, "clean_label": example.label}
    return replace(example, label=label, target=example.choices[label], fields=fields, digest="")


FLIPPED = replace(DYNAMICS, pool=tuple(flip(e) if i in FLIPS else e for i, e in enumerate(DYNAMICS.pool)))


def use_kin() -> AbstractContextManager[Registry]:
    return using(build([ranking_estimators]))


def write(folder: Path, dynamics=DYNAMICS) -> Path:
    write_dynamics(folder / "syn.dynamics.h5", dynamics)
    write_features(folder / "syn.synthetic.features.h5", replace(FEATURES, examples=dynamics.examples))
    return folder


def loop(source, trial_of, reading):
    """The definition, one curriculum at a time through ``predict``."""
    recipe = typical_recipe(source)
    first = first_scores(DYNAMICS, source.metric, 0)

    def final(batches):
        query = Query(batches[None], recipe.learning_rates[None], recipe.grid, first[None])
        return reading(source.named.estimator.predict(query).values[0, -1].astype(np.float64))

    return trial_of(recipe, final)


def dropped(recipe, final):
    changes = [[] for _ in range(POOL)]
    for trial in drops(recipe, POOL, 2, 5):
        for place in trial.due:
            assert place in trial.base
            without = [[-1 if one == place else one for one in batch] for batch in trial.base]
            changes[place].append(final(np.array(without)) - final(trial.base))
    return np.array([np.mean(one) for one in changes])


def replaced(recipe, final):
    changes = [[] for _ in range(POOL)]
    for trial in replacements(recipe, POOL, 2, 5):
        names = [*trial.others, None]

        def run(candidate, names=names, trial=trial):
            return final(np.array([[candidate if p == -1 else names[p] for p in batch] for batch in trial.template]))

        ends = {int(candidate): run(int(candidate)) for candidate in trial.candidates}
        assert not set(ends) & set(trial.others.tolist())
        assert len(ends) + len(trial.others) == POOL
        for place in trial.due:
            changes[place].append(np.mean([end for other, end in ends.items() if other != place]) - ends[int(place)])
    return np.array([np.mean(one) for one in changes])
