"""The options of ``gptfl rank``, ``gptfl select`` and the studies of both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from gptfl.options import common
from gptfl.options.base import NOT_NEGATIVE, POSITIVE, Bound, at_least, option, share
from gptfl.options.common import FILES, RESULT, TRAINED, File, Ids, InputOptions, Picture, Settings
from gptfl.options.ranking import INFLUENCE, RankingOptions, how_option

FEW = "give 2 or more: the spread tells what a difference is worth"
OWN, CHOICE = "First scores, for --on self", "The subset"
SIDES = "Two sides"


@dataclass(frozen=True, slots=True, kw_only=True)
class InfluenceOptions(RankingOptions):
    """Whose influence on what, by which simulators, and in how many random runs where it is simulated."""

    how: str | None = how_option("remove, closed-form or derivative, the first that there is, else replace")
    orders: int = option(
        4,
        "Random runs that each example is tried in.",
        metavar="K",
        panel=INFLUENCE,
        bound=at_least(1, "give 1 or more"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RankOptions:
    """What ``gptfl rank`` orders, and what it shows of that."""

    purpose: str = option(
        "target",
        "What the ranking is for: target (what helps these test examples), cleaning (what is wrong with the rows: every "
        "sign of it as a column, most suspicious first) or mixture (what groups of rows do, as --by).",
        flag="--for",
        complete=("target", "cleaning", "mixture"),
    )
    by: str | None = option(
        None,
        "Rank groups of rows by this field of theirs, or by class or task: each as if none of its rows were there.",
        metavar="FIELD",
        shown="rows; with --for mixture tasks, else classes",
        complete=("class", "task"),
        panel=INFLUENCE,
    )
    keep: str | Sequence[str] | None = option(
        None,
        "Test examples that must not get worse: test:ID or group:FILE. Each row also has its influence on these, and a "
        "verdict on both sides together.",
        complete=("test:", "group:"),
        shown=False,
        panel=INFLUENCE,
    )
    influence: InfluenceOptions = InfluenceOptions()
    new: File = option(
        None,
        "Rank the rows of this file, which were never recorded, as if each were added to the pool; read as gptfl simulate "
        "--new-train reads them.",
        shown="the pool",
        panel=INFLUENCE,
    )
    top: int | None = common.top()
    reverse: bool = common.harmful()
    only: str | None = option(
        None,
        "Only the rows with this verdict: helpful or harmful; with --keep also both (known to help --on and not to hurt "
        "--keep).",
        shown="all",
        complete=("helpful", "harmful", "both"),
        panel=RESULT,
    )
    fdr: float = option(
        0.1,
        "False discovery rate of verdicts: the share of rows called helpful or harmful whose influence may have the "
        "other sign.",
        metavar="SHARE",
        panel=INFLUENCE,
        bound=share("give a share between 0 and 1, such as 0.1"),
    )
    as_csv: bool = common.as_csv()
    as_json: bool = common.as_json()
    model: str | None = option(
        None,
        "Measure each training example's first score with the recording's model, and keep it. With --new, the model that "
        "gradients of new rows are taken of.",
        shown="as measured before, else the test examples' mean",
        panel=OWN,
    )
    tokens: bool = option(
        False,
        "With --on test:ID, also tell which examples moved which token of its target, to first order; trains the "
        "reference run of the sketches again, with --model.",
        panel=INFLUENCE,
    )
    seed: int = common.seed("the random runs")
    inputs: InputOptions = InputOptions()
    output: File = option(
        None,
        "Also write the rows (all, or as --top and --harmful choose) to this .csv, .parquet or .json file, which other "
        "commands take as ids; the first two are written row by row.",
        shown=False,
        panel=FILES,
    )
    figure: Picture = option(
        None,
        "Picture of how early flipped labels are found.",
        shown="in the workspace, if labels were flipped",
        panel=FILES,
    )
    no_picture: bool = common.no_picture()
    html: File = common.html("the ranking")


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOptions:
    """How the trainings of a study are carried out, and where its numbers go."""

    PANEL: ClassVar = TRAINED
    model: str | None = option(None, "Model to train.", shown="the recording's", complete="model")
    dry_run: bool = option(False, "Print the cost, train nothing.")
    executor: str = common.executor()
    executor_set: Settings = common.executor_set()
    device: str = common.device()
    seed: int = common.seed()
    as_json: bool = common.as_json()
    output: File = option(None, "JSON file of the numbers.", shown="in the workspace", panel=FILES)
    figure: Picture = common.figure()
    no_picture: bool = common.no_picture()


@dataclass(frozen=True, slots=True, kw_only=True)
class RelabelStudyOptions:
    """What ``gptfl relabel-study`` corrects and trains."""

    influence: InfluenceOptions = InfluenceOptions()
    shares: str | Sequence[float] = option(
        "0.1,0.2,0.3,0.4,0.5",
        "Shares of the pool to check and correct, beside none and all of it.",
        metavar="S,S,…",
        panel=TRAINED,
    )
    repeats: int = option(
        3, "Trainings a point, each in another order.", panel=TRAINED, bound=at_least(1, "give 1 or more")
    )
    epochs: float | None = option(
        None, "Passes over the pool.", shown="as recorded runs over their subsets", panel=TRAINED, bound=POSITIVE
    )
    steps: int | None = option(
        None, "Optimiser steps, instead of --epochs.", shown=False, panel=TRAINED, bound=POSITIVE
    )
    study: StudyOptions = StudyOptions()
    inputs: InputOptions = InputOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionOptions:
    """What is selected, by which simulator and for what."""

    PANEL: ClassVar = CHOICE
    size: int = option(
        help="How many training examples to select.",
        metavar="M",
        panel="",
        bound=at_least(1, "give a number from 1 to the size of the pool"),
    )
    estimator: str | None = option(
        None,
        "Select by the simulator of this estimator.",
        shown="the one fitted last",
        complete="estimator",
        panel="",
    )
    metric: str | None = option(None, "Recorded metric.", shown="the only one, else loss", complete="metric", panel="")
    on: str | Sequence[str] = option(
        "mean",
        "What is to become better: mean (of all test examples), test:ID, or group:FILE (test ids, one a line).",
        complete=("mean", "test:", "group:"),
        panel="",
    )
    how: str | None = how_option()
    orders: int = option(
        4, "Random orders that predictions are means over.", metavar="K", panel="", bound=at_least(1, "give 1 or more")
    )
    max_share_per_class: float | None = option(
        None,
        "At most this share of the subset may be of one class.",
        metavar="SHARE",
        shown="any",
        bound=Bound(lambda value: 0 < value <= 1, "give a share above 0, at most 1", "g"),
    )
    diversity: float = option(
        0.0,
        "Take so much off an example's worth for being like one selected before it, in standard deviations of "
        "worth at full likeness (cosine of the features that the simulator was fitted on).",
        metavar="λ",
        bound=NOT_NEGATIVE,
    )
    cautious: float = option(
        0.0,
        "Go by influence less so many of its standard deviations, which the estimator must tell.",
        metavar="Z",
        bound=NOT_NEGATIVE,
    )
    search: int = option(
        6000,
        "Predict up to so many curricula in search of exchanges that better the whole subset; 0 goes by the influence "
        "of single examples alone.",
        metavar="N",
        shown="6000",
        bound=NOT_NEGATIVE,
    )
    simulator: File = option(None, "Simulator file to use.", shown="the one made last", panel=FILES)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectOptions:
    """What ``gptfl select`` selects, and what it shows of that."""

    selection: SelectionOptions
    among: Ids | None = option(
        None,
        "Choose only among these pool ids: a file of ids, one a line, or a table that gptfl rank wrote.",
        flag="--from",
        shown="all",
        panel=CHOICE,
    )
    keep: str | Sequence[str] | None = option(
        None,
        "Test examples that must not get worse: test:ID or group:FILE. Several subsets are found, from all for these to "
        "all for --on.",
        complete=("test:", "group:"),
        shown=False,
        panel=SIDES,
    )
    frontier: int | None = option(
        None,
        "With --keep, how many weights of the two sides to try, from all for --keep to all for --on.",
        metavar="N",
        shown="9",
        panel=SIDES,
        bound=at_least(2, "give 2 or more"),
    )
    point: int | None = option(
        None,
        "With --keep, write the ids of this point of the table.",
        metavar="K",
        shown="the one most likely to do both",
        panel=SIDES,
        bound=at_least(1, "give the number of a point of the table"),
    )
    by: str | None = option(
        None,
        "Choose shares of groups instead of rows, by this field of theirs, or by class or task. Rows are drawn at random "
        "from each group, and --max-share-per-class limits each.",
        metavar="FIELD",
        shown=False,
        complete=("class", "task"),
        panel=CHOICE,
    )
    top: int = option(
        10, "How many of them to show.", metavar="N", panel=RESULT, shell=True, bound=at_least(1, "give 1 or more")
    )
    as_csv: bool = common.as_csv()
    as_json: bool = common.as_json()
    seed: int = common.seed("the orders")
    inputs: InputOptions = InputOptions()
    output: File = option(None, "Text file of the ids.", shown="in the workspace", panel=FILES)
    figure: Picture = option(
        None, "Picture of the frontier, or of the shares.", shown="in the workspace, with --keep or --by", panel=FILES
    )
    no_picture: bool = common.no_picture()


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectStudyOptions:
    """What ``gptfl select-study`` selects and trains on."""

    selection: SelectionOptions
    rivals: tuple[str, ...] | None = option(
        None,
        "Also train on the examples of greatest influence by this estimator: NAME or NAME:SETTING=VALUE,...; "
        "may be given several times.",
        flag="--rival",
        shown="tracin-cp, where the recording has gradients",
        complete="estimator",
        panel=TRAINED,
    )
    random_subsets: int = option(
        10, "Random subsets to train on once each.", flag="--random", metavar="K", panel=TRAINED, bound=at_least(2, FEW)
    )
    repeats: int = option(
        5, "Trainings on each selected subset, in other orders.", panel=TRAINED, bound=at_least(2, FEW)
    )
    score_on: int | None = option(
        None,
        "So many test examples, chosen by the seed, are kept from the selection and scored on.",
        metavar="N",
        shown="half of them",
        panel=TRAINED,
        bound=at_least(1),
    )
    study: StudyOptions = StudyOptions()
    data: File = common.data()
    inputs: InputOptions = InputOptions()
