"""``gptfl plugins`` from the command line."""

import json
from collections.abc import Callable
from types import ModuleType

from gptfl.plugins.hooks import hookimpl
from gptfl.plugins.parts import KINDS
from gptfl.plugins.registry import build, using


def plugin(name: str, **parts: object) -> ModuleType:
    made = ModuleType(name)
    made.gptfl_estimators = hookimpl(lambda: parts)  # type: ignore[attr-defined]
    return made


def test_every_part_is_listed_with_its_provider_by_kind_and_name(gptfl: Callable) -> None:
    with using(build([plugin("acme", zeta=dict)])):
        listed = gptfl("plugins")
        document = json.loads(gptfl("plugins", "--json").out)
    assert listed.code == 0
    rows = [line.split() for line in listed.out.splitlines()[1:]]
    assert ["estimator", "zeta", "acme"] in rows
    assert ["encoder", "tfidf-svd", "gptfl"] in rows
    kinds = [row[0] for row in rows]
    assert kinds == sorted(kinds, key=list(KINDS).index)
    estimators = [row[1] for row in rows if row[0] == "estimator"]
    assert estimators == sorted(estimators)
    assert [[one["kind"], one["name"], one["provider"]] for one in document["parts"]] == rows
    assert all(one["usable"] for one in document["parts"])
    assert document["problems"] == []


def test_a_name_that_two_claim_and_what_is_broken_are_said(gptfl: Callable) -> None:
    with using(build([plugin("acme", zeta=dict), plugin("bolt", zeta=dict, **{"mean-run": dict})])):
        listed = gptfl("plugins")
        document = json.loads(gptfl("plugins", "--json").out)
    assert [one["provider"] for one in document["parts"] if not one["usable"]] == ["acme", "bolt"]
    assert document["problems"] == [
        {"provider": "bolt", "reason": "estimator 'mean-run' is gptfl's own name: skipped"},
        {
            "provider": "acme and bolt",
            "reason": "all claim estimator 'zeta': it can't be used until one is left",
        },
    ]
    assert listed.code == 0
    assert "bolt: estimator 'mean-run' is gptfl's own name: skipped" in listed.err
