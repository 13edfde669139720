"""What is recorded of gradients, and by what it is known."""

from dataclasses import replace

import numpy as np
import pytest

from gptfl.core.gradients import GradientProducts, GradientSketches, SketchPoint

RANDOM = np.random.default_rng(0)
RATES = np.linspace(1.0, 0.1, 4)


def products() -> GradientProducts:
    return GradientProducts(
        3, np.array([0, 4]), RATES, RANDOM.normal(size=(2, 5, 3)), RANDOM.normal(size=(2, 5, 3)),
        RANDOM.normal(size=(2, 5)), RANDOM.normal(size=(2, 5)),
    )  # fmt: skip


PRODUCTS = products()
POINT = SketchPoint(0, RANDOM.normal(size=(5, 8)), RANDOM.normal(size=(3, 8)), None)
SKETCHES = GradientSketches(3, np.array([0]), RATES, 8, None, [POINT])


def test_products_of_some_examples_are_theirs_in_the_order_asked() -> None:
    pool, tests = np.array([4, 0]), np.array([2, 1])
    found = PRODUCTS.of_examples(pool, tests)
    for k, i, j in np.ndindex(2, 2, 2):
        assert found.raw[k, i, j] == PRODUCTS.raw[k, pool[i], tests[j]]
        assert found.preconditioned[k, i, j] == PRODUCTS.preconditioned[k, pool[i], tests[j]]
        assert found.self_raw[k, i] == PRODUCTS.self_raw[k, pool[i]]
        assert found.self_preconditioned[k, i] == PRODUCTS.self_preconditioned[k, pool[i]]
    assert found.learning_rates is PRODUCTS.learning_rates
    assert PRODUCTS.of_examples(np.array([], int), tests).raw.shape == (2, 0, 2)


@pytest.mark.parametrize(
    "name", ["seed", "steps", "learning_rates", "raw", "preconditioned", "self_raw", "self_preconditioned"]
)
def test_products_are_known_by_every_number(name: str) -> None:
    value = getattr(PRODUCTS, name)
    assert replace(PRODUCTS, **{name: value + 0}).fingerprint == PRODUCTS.fingerprint
    assert replace(PRODUCTS, **{name: value + 1}).fingerprint != PRODUCTS.fingerprint


@pytest.mark.parametrize(
    "changed",
    [
        replace(SKETCHES, seed=4),
        replace(SKETCHES, dimensions=16),
        replace(SKETCHES, modules="*mlp*"),
        replace(SKETCHES, products=PRODUCTS),
        replace(SKETCHES, points=[replace(POINT, train=POINT.train + 1)]),
        replace(SKETCHES, points=[replace(POINT, preconditioned=POINT.train)]),
        replace(SKETCHES, points=[replace(POINT, split_test=POINT.test)]),
        replace(SKETCHES, points=[POINT, POINT]),
    ],
)
def test_sketches_are_known_by_all_that_they_hold(changed: GradientSketches) -> None:
    assert changed.fingerprint != SKETCHES.fingerprint


def test_the_time_that_sketches_took_is_no_part_of_them() -> None:
    assert replace(SKETCHES, seconds=3.0).fingerprint == SKETCHES.fingerprint


def test_points_are_read_one_after_the_other() -> None:
    class Read(list):
        reads: list[int] = []  # noqa: RUF012

        def __getitem__(self, place):
            self.reads.append(place)
            return super().__getitem__(place)

    sketches = replace(SKETCHES, points=Read([POINT, POINT]))
    assert Read.reads == [], "nothing is read before it is asked for"
    assert repr(sketches).count("SketchPoint") == 0
    assert sketches.fingerprint == replace(SKETCHES, points=[POINT, POINT]).fingerprint
    assert Read.reads == [0, 1]


def test_points_that_can_be_had_in_blocks_are() -> None:
    class Blocked(list):
        def in_blocks(self, place):
            return replace(self[place], step=99)

    assert replace(SKETCHES, points=Blocked([POINT])).point(0).step == 99
    assert replace(SKETCHES, points=[POINT]).point(0) is POINT
