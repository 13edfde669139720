"""The influence of rows that were never in a recording, as if each of them were added to the pool by itself."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gptfl.core import Features, FeatureSet, Progress
from gptfl.errors import DataError, UsageError
from gptfl.influence.closed_form import WIDTH
from gptfl.influence.meaning import meaning
from gptfl.influence.rank import InfluenceRequest
from gptfl.influence.ranking import Ranking, RankResult
from gptfl.influence.removal import has_removal, removal
from gptfl.influence.targets import ADD, Influence
from gptfl.influence.verdicts import verdicts_on
from gptfl.options.defaults import FEW_RUNS
from gptfl.options.influence import RankOptions
from gptfl.recording.new_examples import NewExamples, read_new_examples
from gptfl.simulation.caveats import NOVEL
from gptfl.simulation.reference import trust_of
from gptfl.simulation.simulator import FittedSimulator, with_new_examples
from gptfl.simulation.unseen import Scope


def check_new_request(options: RankOptions) -> None:
    """Raise ``UsageError`` where options are given that say nothing of rows which no run has seen."""
    influence = options.influence
    given = {
        f"--for {options.purpose}": options.purpose != "target",
        "--by": options.by is not None,
        "--keep": options.keep is not None,
        "--tokens": options.tokens,
        f"--how {influence.how}": influence.how is not None,
        "--on self": influence.on == "self",
    }
    for flag, is_given in given.items():
        if options.new is not None and is_given:
            raise UsageError(
                f"{flag} and --new were given together",
                "leave one out: new rows are told of as if each were added, on test examples",
            )


def rank_new_rows(
    sources: Sequence[FittedSimulator], request: InfluenceRequest, options: RankOptions, progress: Progress
) -> RankResult:
    """The rankings of the rows in the file of ``options.new`` by simulators of one recording.

    Args:
        sources: the simulators.
        request: on what influence is told, and at which false discovery rate.
        options: name the file, and the model that gradients of new rows are taken of.
        progress: called along the way.

    The influence is the metric at the last recorded step with the row added to the pool, less without: the whole pool is
    trained on by the recorded recipe, the new row seen as often as each of its rows, and every other row as often as
    before. Raises ``DataError`` where the file or vectors of its rows aren't to be had, or an estimator can't tell.
    """
    assert options.new is not None  # what this is called for
    first = sources[0]
    new = read_new_examples(
        options.new, None, first.recording.dynamics, first.metric, first.recording.registry, "--new"
    )
    counts = Counter(source.found.estimator for source in sources)
    rankings, notes = [], []
    for source in sources:
        name = source.found.estimator
        if not has_removal(source, request.subject):
            raise DataError(
                f"{name} can't tell what new rows do (it has no influence_of, or fewer than two runs recorded the end)",
                f"name a simulator of another estimator, such as {FEW_RUNS}",
            )
        asked = of_new_rows(source, new, request, options.model, progress)
        influence = removal(asked, request.subject, asked.scope.features, progress)
        label = name if counts[name] == 1 else source.path.name.removesuffix(".simulator.h5")
        rankings.append(_ranking(source, label, influence, request))
        notes += [*asked.notes, *source.recording.notes, *influence.notes, *_far(label, influence)]
        notes.append(f"trust in {label}: {trust_of(source).text}")
    return RankResult(
        recording=first.recording.path.name,
        metric=first.metric,
        on=request.subject.name,
        subject=request.subject.text,
        pool=new.pool,
        rankings=tuple(rankings),
        notes=tuple(dict.fromkeys(notes)),
        imported=first.recording.dynamics.settings.elsewhere,
        new=str(options.new),
    )


def of_new_rows(
    source: FittedSimulator, new: NewExamples, request: InfluenceRequest, model: str | None, progress: Progress
) -> FittedSimulator:
    """The same simulator, for questions about new rows alone.

    Args:
        source: the simulator.
        new: the rows.
        request: says where the recording's vectors lie.
        model: that gradients of new rows are taken of, None for the recording's.
        progress: called along the way.

    Raises ``DataError`` as ``with_new_examples`` does.
    """
    asked = with_new_examples(source, new, request.features, model, progress)
    whole, count, features = asked.scope, len(new.pool), None
    if whole.features is not None:
        begin = len(whole.pool) - count
        sets = {
            name: FeatureSet(np.asarray(one.train[begin:]), one.test, one.kind)
            for name, one in whole.features.sets.items()
        }
        features = Features(whole.features.encoder, whole.features.identity, whole.features.examples, sets)
    scope = Scope(whole.pool[-count:], whole.test, np.full(count, -1), whole.test_seen, features)
    return replace(asked, scope=scope, memo={})


def _ranking(source: FittedSimulator, label: str, influence: Influence, request: InfluenceRequest) -> Ranking:
    assert influence.spread is not None  # influence as if a row were not there has one
    half = WIDTH * influence.spread
    # More runs like the recorded have none of these rows: what they would settle isn't said.
    known = None if request.fdr is None else verdicts_on(influence.influence, influence.spread, request.fdr)
    return Ranking(
        label,
        source.found.estimator,
        how=ADD,
        influence=influence.influence,
        step=influence.step,
        simulator=source.path,
        low=influence.influence - half,
        high=influence.influence + half,
        meaning=meaning(ADD, request.subject, source.metric, influence.step),
        verdicts=known,
    )


def _far(label: str, influence: Influence) -> tuple[str, ...]:
    """A line where the recorded runs leave nearly all open of what some rows do."""
    spread, before, common, lasting = influence.spread, influence.before, influence.common, influence.lasting
    assert spread is not None  # they come together
    assert before is not None
    assert common is not None
    assert lasting is not None
    known = np.isfinite(before) & (before > 0.0)
    left = np.maximum(spread**2 - common**2 - lasting**2, 0.0)[known] / before[known] ** 2
    far = int((left > NOVEL).sum())
    if not far:
        return ()
    return (
        f"{label} knows next to nothing of {far} of {len(spread)} new rows, which are unlike those recorded: more than "
        f"{NOVEL:.0%} of what they may do is open, and their intervals are wide. Record runs with rows like them",
    )
