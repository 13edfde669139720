"""Synthetic recordings whose losses move linearly with what a run sees, and questions about them."""

from dataclasses import replace

import numpy as np

from gptfl import testing
from gptfl.core import (
    Curriculum,
    Features,
    FeatureSet,
    FitData,
    GradientProducts,
    MetricInfo,
    Run,
    Unseen,
    examples_fingerprint,
)
from gptfl.core.blocked_products import BlockedProducts, as_products
from gptfl.core.blocked_rows import BlockedRows
from gptfl.core.curriculum import draw_subset, fill_batches, linear_decay, run_seed
from tests.synthetic import examples


class Held(BlockedRows):
    """Rows that are in memory, taken for such as aren't."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def read(self, start, stop):
        return self.array[start:stop]

    def take(self, places):
        return self.array[places]


def in_blocks(features):
    """The same features, with the pool's vectors to be read some at a time."""
    return replace(
        features, sets={name: replace(one, train=Held(np.asarray(one.train))) for name, one in features.sets.items()}
    )


def products_in_blocks(gradients):
    """The same gradient products, to be read some rows at a time."""
    sides = (
        as_products(BlockedProducts([Held(one) for one in side])) for side in (gradients.raw, gradients.preconditioned)
    )
    return replace(gradients, **dict(zip(("raw", "preconditioned"), sides, strict=True)))


LOSS = MetricInfo("loss", higher_is_better=False, low=0.0)
ACCURACY = MetricInfo("accuracy", higher_is_better=True, low=0.0, high=1.0)
BLEU = MetricInfo("bleu", higher_is_better=True, low=0.0, high=100.0)
POOL, TEST, STEPS, BATCH = 24, 8, 16, 3
RECORDED = np.arange(0, STEPS + 1, 4)
CLOSE = {"rtol": 2e-3, "atol": 2e-4}
"""How near answers by blocks come: hyperparameters are looked for to no more digits, and sums are kept in 32 bits."""


def left_of(batches, rates, steps, pool, reach=np.inf):
    """What is left at each of these steps of what a run has seen of each example, by a plain loop, where what a batch did
    fades by a factor of e while step sizes add up to ``reach``."""
    found = np.zeros((len(steps), pool))
    for row, step in enumerate(steps):
        for taken in range(step):
            members = batches[taken][batches[taken] >= 0]
            left = np.exp(-rates[taken + 1 : step].sum() / reach)
            np.add.at(found[row], members, left * rates[taken] / max(len(members), 1))
    return found


def world(
    runs=16, queried=6, metric=LOSS, noise=0.05, seed=0, pool=POOL, test=TEST, kind="gradient", own=0.3, reach=np.inf
):
    """Runs whose losses move linearly with what they see, by products of gradients and effects of each example's own.

    What they see fades while step sizes add up to ``reach``. The data to fit, and the runs to ask about.
    """
    random = np.random.default_rng(seed)
    train, tests = random.normal(size=(pool, 4)), random.normal(size=(test, 4))
    effects = -train @ tests.T / 2 + own * random.normal(size=(pool, test))
    begin, rates = random.uniform(-0.5, 0.5, size=test), linear_decay(1.0, STEPS)
    made = []
    for index in range(runs + queried):
        key = run_seed(seed, index)
        batches = fill_batches(draw_subset(pool, pool // 3, key), BATCH, STEPS, key)
        seen = left_of(batches, rates, RECORDED, pool, reach) / rates.sum()
        line = begin - 0.8 * (RECORDED / STEPS)[:, None] + 2 * seen @ effects
        line[1:] += noise * random.normal(size=line[1:].shape)
        if metric.high == float("inf"):
            values = np.exp(line / 2)
        else:
            values = metric.low + (metric.high - metric.low) / (1 + np.exp(line))
        made.append(Run(index, key, "fit", Curriculum(batches, rates), RECORDED, {metric.name: values}))
    named = examples("train", pool, 2), examples("test", test, 2)
    one = FeatureSet(train.astype(np.float32), tests.astype(np.float32), kind)
    sets = {"raw-0": one} if kind == "gradient" else {"text": one}
    features = Features("synthetic", {}, examples_fingerprint(*named), sets)
    return FitData(*named, metric, tuple(made[:runs]), features=features), made[runs:]


def question(runs, metric="loss"):
    return testing.synthetic.make_query(runs, metric)


def recorded(runs, metric="loss"):
    return np.stack([run.metrics[metric] for run in runs])


def skill(values, truth, mean):
    return 1 - np.square(values - truth)[:, 1:].sum() / np.square(mean - truth)[:, 1:].sum()


def covered(prediction, truth, level):
    low, high = prediction.intervals[level]
    return ((truth >= low) & (truth <= high))[:, 1:].mean()


def of_first(data, pool=None, tests=None):
    """The data of the first examples alone."""
    one = next(iter(data.features.sets))
    vectors = data.features.sets[one]
    sets = {one: FeatureSet(vectors.train[:pool], vectors.test[:tests], vectors.kind)}
    name = data.metric.name
    runs = tuple(replace(run, metrics={name: run.metrics[name][:, :tests]}) for run in data.fit_runs)
    given = data.pool[:pool], data.test[:tests]
    features = Features("synthetic", {}, examples_fingerprint(*given), sets)
    return replace(data, pool=given[0], test=given[1], fit_runs=runs, features=features)


def about(query, data, pool=None, tests=None):
    """The question about all examples, of which the first so many were fitted."""
    places = [
        np.where(np.arange(len(side)) < (len(side) if count is None else count), np.arange(len(side)), -1)
        for side, count in ((data.pool, pool), (data.test, tests))
    ]
    return replace(query, unseen=Unseen(data.pool, data.test, *places, data.features))


def exact(data, blur=0.0, seed=9):
    """The products of the data's gradients, as recorded, and the data with sketches of these, of so much noise."""
    one = data.features.sets["raw-0"]
    raw = (one.train @ one.test.T)[None].astype(np.float32)
    nothing = np.full_like(raw, np.nan)
    own = np.ones((1, len(data.pool)), dtype=np.float32)
    products = GradientProducts(
        0, np.array([0]), linear_decay(1.0, STEPS), raw, nothing, own, np.full_like(own, np.nan)
    )
    random = np.random.default_rng(seed)
    noisy = FeatureSet(*(x + blur * random.normal(size=x.shape) for x in (one.train, one.test)), "gradient")
    return products, replace(data, features=replace(data.features, sets={"raw-0": noisy}))


def with_set(data, train, test):
    return replace(data, features=replace(data.features, sets={"raw-0": FeatureSet(train, test, "gradient")}))


def at(run, rows):
    """The run as if it had been recorded at some of its steps alone."""
    return replace(run, steps=run.steps[rows], metrics={name: one[rows] for name, one in run.metrics.items()})


def begun(run, row):
    """The run as if it had been recorded from a later step on."""
    return at(run, np.arange(row, len(run.steps)))


def blank(curriculum, steps):
    """The curriculum without its first batches."""
    kept = np.arange(curriculum.steps)[:, None] >= steps
    return replace(curriculum, batches=np.where(kept, curriculum.batches, -1))
