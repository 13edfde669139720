"""Holds every estimator against the same held-out runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gptfl.api.writing import written
from gptfl.core import Progress, silent, user_path
from gptfl.evaluation.compare import ComparisonSpec, compare_held_out
from gptfl.recording.recording import open_recording
from gptfl.report.comparison import check_format, write_table
from gptfl.report.comparison_plot import draw_comparison
from gptfl.report.pictures import check_picture
from gptfl.scores.comparison import Comparison
from gptfl.store.outputs import check_plain_target


def compare(
    *,
    dynamics: str | Path | None = None,
    features: str | Path | None = None,
    workspace: str | Path | None = None,
    estimators: Sequence[str] | None = None,
    encoder: str | None = None,
    metric: str | None = None,
    folds: int | None = None,
    every: int = 1,
    keep_diverged: bool = False,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    calibrate: bool = False,
    cost: bool = False,
    unseen: str | None = None,
    unseen_share: float | None = None,
    observe: int | None = None,
    against_estimator: str | None = None,
    seed: int = 42,
    output: str | Path | None = None,
    figure: str | Path | bool = True,
    progress: Progress = silent,
) -> Comparison:
    """Fit every estimator to the same runs and score what it predicts for the held-out ones.

    ``estimators`` are names, or with settings ``NAME:SETTING=VALUE,...``, so that one can take part several
    times; by default all that are registered and find what they need. Persistence,
    mean-run and, where there are classes, class-share are always among them. ``features`` is a file and ``encoder`` a
    name that hold for all of them; ``NAME@ENCODER`` says it of one. Without either, each gets the features of the
    encoder that it prefers, else those made last. ``folds`` refits that
    many times and tests every run once; without it the roles stored in the recording hold.
    With ``every`` only every so many-th recorded score is learned from, predicted and scored. Runs that diverged take
    no part, and are named, unless ``keep_diverged``.
    ``settings`` maps an estimator's name to settings for each of its rows; a row's label tells those that aren't
    at their default. ``calibrate`` sets that setting in every estimator that has one so named. With ``cost``
    each answer is timed (``evaluation.cost``). With ``unseen`` (train, test or both) nothing is learned from
    ``unseen_share`` of these examples; where test examples are set aside, they alone are scored. With ``observe``
    the estimators are told that many recorded scores of each held-out run after its first; these count in no score.
    Squared errors are held against those of the row ``against_estimator``, by default the least. ``output`` is a
    .json, .csv or .tex file for the table; ``figure`` a .png, True for the default place in the workspace, or
    False for none. Fits whose inputs and settings match are taken from the workspace.

    An estimator that fails, or that can't answer about unseen examples, is a row with the reason. Raises ``DataError`` where no run is held
    out or too few are left to fit, where a named estimator lacks what it needs, or where ``output``
    or ``figure`` would overwrite a file of another type.
    """
    if output is not None:
        check_format(Path(output))
        check_plain_target(user_path(output), "--output")
    if not isinstance(figure, bool):
        check_picture(Path(figure))
        check_plain_target(user_path(figure), "--figure")
    spec = ComparisonSpec(
        features=features,
        estimators=estimators,
        encoder=encoder,
        metric=metric,
        folds=folds,
        settings=settings,
        calibrate=calibrate,
        cost=cost,
        unseen=unseen,
        unseen_share=unseen_share,
        observe=observe,
        against_estimator=against_estimator,
        seed=seed,
    )
    spec.check()
    recording = open_recording(dynamics, workspace, every, keep_diverged)
    comparison = compare_held_out(recording, spec, progress)
    usual = recording.workspace.root / f"{recording.stem}.{comparison.metric.name}.comparison.png"
    return written(comparison, output, figure, usual, write_table, draw_comparison)
