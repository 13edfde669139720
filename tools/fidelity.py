"""Runs the studies of docs/fidelity.md and puts their tables into the page.

    python tools/fidelity.py list
    python tools/fidelity.py run --data DIR [--workspace W] [NAME ...]
    python tools/fidelity.py page

``run`` carries out the commands of each study as they stand on the page; recordings and results that are there
already are kept (delete a JSON file of docs/fidelity to make it again). ``page`` renders what lies there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pages import (
    MODEL,
    NOTHING,
    ROOT,
    SCORES,
    Page,
    Study,
    cell,
    compare,
    dynamics,
    label,
    mean_of,
    number,
    side_by_side,
    table,
)
from scipy.stats import chi2

OURS = "exposure-gp"
TASKS = ("sst2", "rte", "boolq", "webnlg", "wmt16_de_en")
WITH_CLASSES = ("sst2", "rte", "boolq")
"""Only these can be balanced."""
WITH_TEXT = ("webnlg", "wmt16_de_en")
"""These are answered in free text."""
OWN = {
    "sst2-contrast": "--lr 2e-5 --record-every 2 --metric loss --metric accuracy",
    "sst2-balanced": "--lr 2e-5 --record-every 4",
    "rte": "--lr 2e-5 --record-every 8",
    "boolq": "--lr 2e-5 --record-every 8",
    "webnlg": "--lr 1e-4 --record-every 8 --accumulate 4",
    "wmt16_de_en": "--lr 1e-4 --record-every 8 --accumulate 4",
}
"""What a recording has of its own, by its name or by its task."""
PRECISELY = "--precision fp32"
"""What a CPU computes in anyway, so that a GPU records the same within rounding."""
GRADIENTS = "--gradients reference --gradient-points 4 --sketches"
"""The products that TracIn takes, and the features of the encoder ``gradients``."""
SHAPE = "--subset-size 32 --steps 48 --test 48"
RECORDED = tuple(
    f"{task}-{design}" for design, tasks in (("contrast", TASKS), ("balanced", WITH_CLASSES)) for task in tasks
)
FRESH = tuple(f"{task}-fresh" for task in TASKS)
"""Contrast recordings with another seed, made when what predicts fitted test examples was chosen."""
OWN_FRESH = {
    "sst2": "--lr 2e-5 --record-every 4",
    "rte": "--lr 2e-5 --record-every 8",
    "boolq": "--lr 2e-5 --record-every 8",
    **dict.fromkeys(
        WITH_TEXT,
        "--lr 1e-4 --record-every 8 --metric loss --metric rougeL --generate-every 24 --generate-tokens 64",
    ),
}

HARDEST = ("rte-balanced", "boolq-balanced", "webnlg-contrast", "wmt16_de_en-contrast")
"""Where the most is missing of what could be told."""
FOLDS = (2, 4, 12)

RIVALS = (
    OURS,
    f"{OURS}:features=false",
    "gptfluence",
    "simfluence-linear",
    "datamodels",
    "tracin-cp",
    "tracin-cp:calibrate=true",
    "tracin-cp:calibrate=true,preconditioned=true",
)
FOR_TEXT = (OURS, f"{OURS}:features=false", "gptfluence", "simfluence-linear", "datamodels")
"""Those that can be fitted to ROUGE-L."""
ABLATIONS = (
    OURS,
    f"{OURS}:prior=false",
    f"{OURS}:products=false",
    f"{OURS}@minilm",
    f"{OURS}:features=false",
    f"{OURS}:link=identity",
    f"{OURS}:link=log",
    f"{OURS}:link=odds",
)
MANY = (
    f"gptfl collect --task sst2 --data {{data}}/sst2 --name sst2-forty --model {MODEL} --train-layers 6 {PRECISELY} "
    f"--design contrast --runs 40 --pool 200 {SHAPE} --lr 2e-5 --record-every 4 --sketches --seed 11"
)
"""Enough runs to fit to 30 and hold out 10."""
COUNTS = "2,3,5,10,20,30"
FLIPPED = {"05": "5 %", "40": "40 %"}
"""How many hundredths of the labels are flipped, and as tables say it."""
REPEATS = ("1", "2", "3", "4", "5")


def named(specs: Sequence[str]) -> str:
    """The options that name estimators."""
    return " ".join(f"--estimator {spec}" for spec in specs)


def recording(name: str) -> str:
    """The command that makes one recording."""
    task, _, design = name.partition("-")
    if name in FRESH:
        design, own, seed = "contrast", OWN_FRESH[task], " --seed 7"
    else:
        own, seed = OWN.get(name) or OWN[task], ""
    return (
        f"gptfl collect --task {task} --data {{data}}/{task} --name {name} --model {MODEL} --train-layers 6 {PRECISELY} "
        f"--design {design} --runs 24 --repeats 8 --pool 200 --reserve-pool 40 {SHAPE} {own} {GRADIENTS}{seed}"
    )


def flipped() -> tuple[str, ...]:
    """The commands of one repeat of the study of flipped labels."""
    name = "flipped-$SHARE-$REPEAT"
    return (
        f"gptfl collect --task sst2 --data {{data}}/sst2 --name {name} --model {MODEL} --train-layers 6 {PRECISELY} "
        f"--design contrast --flip-labels 0.$SHARE --runs 24 --pool 400 {SHAPE} --lr 2e-5 --record-every 8 "
        f"{GRADIENTS} --seed $REPEAT",
        f"gptfl featurize --encoder gradients {dynamics(name)}",
        f"gptfl fit --estimator {OURS} {dynamics(name)}",
        f"gptfl fit --estimator tracin-cp {dynamics(name)}",
        f"gptfl rank {dynamics(name)} --estimator {OURS} --estimator tracin-cp --on mean --model {MODEL} --top 20 "
        "--output {raw}/flips-$SHARE-$REPEAT.json --figure $GPTFL_WORKSPACE/flips-$SHARE-$REPEAT.png",
    )


# ---------------------------------------------------------------- tables


def title(name: str) -> str:
    """The recording and what sets this result apart, from the name of its file."""
    return name.partition("-")[2].replace("-", ", ")


def headline(found: Mapping[str, Any]) -> str:
    """A line a recording: how near our estimator comes to what can be predicted, and how sure it is."""
    rows = []
    for name, result in found.items():
        row = next((row for row in result["estimators"] if row["estimator"] == OURS), None)
        if row is None or row["error"]:
            continue
        top = result.get("ceiling") or {}
        cells = [cell(key, row["scores"].get(key), False) for key in ("skill", "lds")]
        rows.append(
            [title(name), *cells, *(ceiling(key, top) for key in ("skill", "lds")), *shares(row, top), inside(row)]
        )
    head = ["", "skill", "LDS", "ceiling: skill", "LDS", "share: skill", "LDS", "inside 90 %"]
    return table([OURS, *head[1:]], rows)


def ceiling(score: str, top: Mapping[str, Any]) -> str:
    """The ceiling of a score with its interval."""
    known = number(score, top.get(score))
    found = bounds(score, top)
    return known if found is None else f"{known} [{found[0]:.2f}, {found[1]:.2f}]"


def bounds(score: str, top: Mapping[str, Any]) -> tuple[float, float] | None:
    """The 95 % interval of a ceiling: the one in the result, else the widest that the repeats' number allows.

    That is chi-square's, as if all points and test examples moved as one, for results of before `compare` had
    intervals of ceilings.
    """
    value = top.get(score)
    if value is None:
        return None
    if f"{score}_interval" in top:
        kept = top[f"{score}_interval"]
        return None if kept is None else (float(kept[0]), float(kept[1]))
    freedom = int(top["runs"]) - int(top["subsets"])
    factors = (freedom / chi2.ppf(0.025, freedom), freedom / chi2.ppf(0.975, freedom))
    if score == "skill":
        low, high = (1 - (1 - value) * factor for factor in factors)
        return float(low), float(high)
    # Spearman's ceiling is 6 / pi * arcsin(sqrt(1 - x) / 2) where x of the variance is noise.
    noise = 1 - (2 * np.sin(np.pi * value / 6)) ** 2
    low, high = (6 / np.pi * np.arcsin(np.sqrt(max(0.0, 1 - noise * factor)) / 2) for factor in factors)
    return float(low), float(high)


def shares(row: Mapping[str, Any], top: Mapping[str, Any]) -> list[str]:
    """The shares of the ceilings of skill and LDS in per cent, with their intervals."""
    texts = []
    for score in ("skill", "lds"):
        share = row.get(f"{score}_share")
        if share is None or share <= 0:
            texts.append(NOTHING)
            continue
        if f"{score}_share_interval" in row:
            kept = row[f"{score}_share_interval"]
        else:
            own = bounds(score, top)
            value = row["scores"][score]["value"]
            low, high = row["scores"][score]["interval"] or (value, value)
            kept = None if own is None else [low / own[1], high / own[0] if own[0] > 0 else None]
        texts.append(f"{share:.0%}" + ("" if kept is None else f" {in_percent(kept)}"))
    return texts


def in_percent(kept: Sequence[float | None]) -> str:
    """An interval of a share; None for a bound that is out of sight."""
    low, high = (None if bound is None else f"{100 * bound:.0f}" for bound in kept)
    if low is None:
        return "[anything]" if high is None else f"[{high} or less]"
    return f"[{low} or more]" if high is None else f"[{low}, {high}]"


def inside(row: Mapping[str, Any]) -> str:
    """The share of recorded points inside the 90 % intervals, with its interval over runs where it is known."""
    known = row.get("coverage", {}).get("0.9", {})
    share, interval = known.get("share"), known.get("interval")
    if share is None:
        return NOTHING
    return f"{share:.0%}" + ("" if interval is None else f" [{100 * interval[0]:.0f}, {100 * interval[1]:.0f}]")


def over(row: Mapping[str, Any]) -> str:
    """By how much a row's squared error a point exceeds that of our estimator, with its interval."""
    excess = row.get("excess")
    if excess is None or excess["over"] == row["estimator"]:
        return NOTHING
    low, high = excess["interval"]
    return f"{excess['more']:+.2g} [{low:.2g}, {high:.2g}]" + ("" if excess["clear"] else " (not clear)")


def in_full(found: Mapping[str, Any]) -> str:
    """The headline, then a table for each recording: a line an estimator."""
    parts = [headline(found)]
    for name, result in found.items():
        rows = []
        for row in result["estimators"]:
            if row["error"]:
                rows.append([label(row), f"failed: {row['error']}", *[""] * 7])
                continue
            scores = [
                cell(key, row["scores"].get(key), key in row["clearly_best"]) for key in ("mse", "rho", "skill", "lds")
            ]
            rows.append(
                [
                    label(row),
                    row.get("encoder") or NOTHING,
                    *scores,
                    " / ".join(shares(row, result.get("ceiling") or {})),
                    inside(row),
                    over(row),
                ]
            )
        head = [
            "features",
            "MSE",
            "final ρ",
            "skill",
            "LDS",
            "share of ceiling",
            "inside 90 %",
            f"squared error over {OURS}'s",
        ]
        parts.append(table([title(name), *head], rows))
    return "\n\n".join(parts)


def by_folds(found: Mapping[str, Any]) -> str:
    """A line a recording, a column a number of runs to fit."""
    row_of: dict[str, dict[int, str]] = {}
    for name, result in found.items():
        row = next(row for row in result["estimators"] if row["estimator"] == OURS)
        fitted = result["runs"]["fit"] + result["runs"]["validation"]
        scores = " / ".join(number(key, (row["scores"].get(key) or {}).get("value")) for key in ("skill", "lds"))
        row_of.setdefault(title(name).rpartition(",")[0], {})[fitted] = scores
    counts = sorted({count for row in row_of.values() for count in row})
    rows = [[recording, *(row.get(count, NOTHING) for count in counts)] for recording, row in row_of.items()]
    return table(["skill / LDS, by runs to fit", *map(str, counts)], rows)


def across(found: Mapping[str, Any]) -> str:
    """A line an estimator, a column a recording."""
    return side_by_side(found, title)


def ranks_only(found: Mapping[str, Any]) -> str:
    """The same with the scores of unseen examples that are bounded."""
    return side_by_side(found, title, ("rho", "skill", "lds"))


def by_runs(found: Mapping[str, Any]) -> str:
    """A table for each sweep over runs: a line an estimator, a column a number of runs, and what recording takes."""
    parts = []
    for name, result in found.items():
        counts = result["axes"]["runs"]
        rows = []
        for estimator in dict.fromkeys(point["estimator"] for point in result["points"]):
            own = {point["runs"]: point for point in result["points"] if point["estimator"] == estimator}
            if estimator != "persistence":
                rows.append([estimator, *(one_point(own[count]) for count in counts)])
        seconds = result["run_seconds"]
        if seconds is not None:
            beside = result["feature_seconds"].get(OURS, 0.0)
            rows.append(["seconds of the runs", *(f"{count * seconds:,.0f}" for count in counts)])
            rows.append([f"and of {OURS}'s gradients", *(f"{count * seconds + beside:,.0f}" for count in counts)])
        held = f"{len(result['held_out'])} held-out runs; {result['fittable_runs']} may be fitted to"
        parts.append(f"{title(name)}: {held}.\n\n" + table(["skill / LDS", *map(str, counts)], rows))
    return "\n\n".join(parts)


def one_point(point: Mapping[str, Any]) -> str:
    """Skill and LDS at a number of runs, with their spread over groups of runs."""
    texts = []
    for key in ("skill", "lds"):
        spread = point[f"{key}_std"]
        texts.append(number(key, point[key]) + (f" ± {spread:.2g}" if spread and point[key] > -99 else ""))
    return " / ".join(texts)


def detections(found: Mapping[str, Any]) -> str:
    """A line an order of checking, a column a share of flipped labels: the area, its mean and spread over repeats."""
    areas: dict[str, dict[str, list[float]]] = {}
    for name, result in found.items():
        share = name.split("-")[1]
        for order, one in result["detection"].items():
            areas.setdefault(order, {}).setdefault(share, []).append(one["area"])
    rows = [[order, *(spread_of(by_share.get(share, [])) for share in FLIPPED)] for order, by_share in areas.items()]
    return table(["area (0.5 random, 1 perfect)", *(f"{text} flipped" for text in FLIPPED.values())], rows)


def spread_of(values: Sequence[float]) -> str:
    """Mean and standard deviation of repeats, and how many there are."""
    if not values:
        return NOTHING
    return f"{mean_of(values)} ({len(values)})"


def selections(found: Mapping[str, Any]) -> str:
    """A line a way of choosing, for each recording and metric: what trainings came to, and beside random subsets."""
    rows = []
    for name, result in found.items():
        for metric in result["kinds"][0]["values"]:
            for kind in result["kinds"]:
                better = kind["better_than_random"].get(metric)
                text = NOTHING
                if better is not None:
                    low, high = better["interval"]
                    text = f"{better['by']:+.3g} [{low:.2g}, {high:.2g}]" + ("" if better["clear"] else " (not clear)")
                rows.append([title(name), metric, kind["kind"], spread_of(kind["values"][metric]), text])
    return table(["recording", "metric", "trained on", "mean ± sd (trainings)", "better than random by"], rows)


def trusted(found: Mapping[str, Any]) -> str:
    """A line a recording: scores without and with what was observed are told apart by the name of the file."""
    rows = []
    for name, result in found.items():
        for row in result["estimators"]:
            if row["error"]:
                continue
            scores = [cell(key, row["scores"].get(key), False) for key in SCORES]
            rows.append([title(name), label(row) + ("" if row.get("conditions") else " ‡"), *scores, inside(row)])
    return table(["recording", "estimator", *SCORES.values(), "inside 90 %"], rows)


# ---------------------------------------------------------------- studies

AGAINST = f"--against-estimator {OURS}"
STUDIES = (
    Study("recordings", (*(recording(name) for name in RECORDED), MANY)),
    Study("fresh-recordings", tuple(recording(name) for name in FRESH)),
    Study(
        "features",
        (f"gptfl featurize --encoder $ENCODER {dynamics('$NAME')}",),
        loops={"NAME": (*RECORDED, *FRESH, "sst2-forty"), "ENCODER": ("gradients", "minilm")},
    ),
    Study(
        "contrast",
        tuple(
            compare(f"{task}-contrast", f"contrast-{task}", f"--folds 4 {named(RIVALS)} {AGAINST}") for task in TASKS
        ),
        tuple(f"contrast-{task}" for task in TASKS),
        in_full,
    ),
    Study(
        "balanced",
        tuple(
            compare(f"{task}-balanced", f"balanced-{task}", f"--folds 4 {named(RIVALS)} {AGAINST}")
            for task in WITH_CLASSES
        ),
        tuple(f"balanced-{task}" for task in WITH_CLASSES),
        in_full,
    ),
    Study(
        "folds",
        tuple(
            compare(name, f"folds-{name}-{folds}", f"--folds {folds} {named((OURS,))}")
            for name in HARDEST
            for folds in FOLDS
        ),
        tuple(f"folds-{name}-{folds}" for name in HARDEST for folds in FOLDS),
        by_folds,
    ),
    Study(
        "unseen",
        tuple(
            compare(
                f"{task}-contrast", f"unseen-{task}-{side}", f"--unseen {side}{folds} {named((OURS, 'gptfluence'))}"
            )
            for task in TASKS
            for side, folds in (("test", " --folds 4"), ("train", ""), ("both", ""))
        ),
        tuple(f"unseen-{task}-{side}" for task in TASKS for side in ("test", "train", "both")),
        ranks_only,
    ),
    Study(
        "fresh",
        tuple(compare(f"{task}-fresh", f"fresh-{task}", f"--folds 4 {named(RIVALS)} {AGAINST}") for task in TASKS),
        tuple(f"fresh-{task}" for task in TASKS),
        in_full,
    ),
    Study(
        "fresh-unseen",
        tuple(
            compare(f"{task}-fresh", f"fresh-unseen-{task}-{side}", f"--unseen {side}{folds} {named((OURS,))}")
            for task in TASKS
            for side, folds in (("test", " --folds 4"), ("train", ""))
        ),
        tuple(f"fresh-unseen-{task}-{side}" for task in TASKS for side in ("test", "train")),
        ranks_only,
    ),
    Study(
        "text",
        tuple(
            compare(f"{task}-fresh", f"text-{task}", f"--folds 4 --metric rougeL {named(FOR_TEXT)} {AGAINST}")
            for task in WITH_TEXT
        ),
        tuple(f"text-{task}" for task in WITH_TEXT),
        in_full,
    ),
    Study(
        "few-runs",
        (
            f"gptfl compare {dynamics('sst2-forty')} --sweep runs={COUNTS} --held-out 10 --draws 4 "
            f"{named((OURS, 'gptfluence'))} --output {{raw}}/runs-sst2.json --figure {{raw}}/runs-sst2.png",
        ),
        ("runs-sst2",),
        by_runs,
    ),
    Study(
        "observe",
        tuple(
            compare(f"{task}-contrast", f"observe-{task}", f"--folds 4 --observe 4 {named((OURS,))}") for task in TASKS
        ),
        tuple(f"observe-{task}" for task in TASKS),
        trusted,
    ),
    Study(
        "ablation",
        tuple(compare(f"{task}-contrast", f"ablation-{task}", f"--folds 4 {named(ABLATIONS)}") for task in TASKS),
        tuple(f"ablation-{task}" for task in TASKS),
        across,
    ),
    Study(
        "mislabelled",
        flipped(),
        tuple(f"flips-{share}-{repeat}" for share in FLIPPED for repeat in REPEATS),
        detections,
        {"SHARE": tuple(FLIPPED), "REPEAT": REPEATS},
    ),
    Study(
        "select",
        tuple(
            command
            for task in ("sst2", "rte")
            for command in (
                f"gptfl fit --estimator {OURS} {dynamics(f'{task}-contrast')}",
                f"gptfl select-study {dynamics(f'{task}-contrast')} --estimator {OURS} --size 32 "
                "--max-share-per-class 0.5 --rival tracin-cp --random 20 --repeats 10 "
                f"--output {{raw}}/select-{task}.json --figure {{raw}}/select-{task}.png",
            )
        ),
        ("select-sst2", "select-rte"),
        selections,
    ),
)
"""In the order of the page."""

SITE = Page(ROOT / "docs" / "fidelity.md", ROOT / "docs" / "fidelity", STUDIES)

if __name__ == "__main__":
    SITE.main(__doc__)
