"""Runs the studies of docs/reproduction.md and puts their tables into the page.

    python tools/reproduction.py list
    python tools/reproduction.py run --data DIR [--workspace W] [NAME ...]
    python tools/reproduction.py page

``run`` carries out the commands of each study as they stand on the page; recordings and results that are there
already are kept (delete a JSON file of docs/reproduction to make it again). ``page`` renders what lies there.
"""

from collections.abc import Mapping
from typing import Any

from pages import MODEL, ROOT, SCORES, Page, Study, cell, compare, dynamics, label, mean_of, number, side_by_side, table

TASKS = ("sst2", "rte", "boolq", "webnlg", "wmt16_de_en")
MIXED = ("rte", "sst2", "boolq", "webnlg", "wmt16_de_en")

LEARNED = "--estimator gptfluence --estimator simfluence-linear --estimator datamodels"
GRADIENTS = " ".join(
    f"--estimator {spec}"
    for spec in (
        "tracin-cp",
        "tracin-cp:calibrate=true",
        "tracin-cp:calibrate=true,preconditioned=true",
        "grad-dot",
        "grad-dot:calibrate=true",
    )
)
OWN_RUN = "--estimator tracin-own-run --estimator tracin-own-run:direction=update"
"""What the paper calls TracIn: it looks along the run that it explains."""


def recording(task: str) -> str:
    """The command that records a task at this page's scale."""
    common = f"--model {MODEL} --train-layers 6 --precision fp32 --subset-size 32 --steps 48 --lr 2e-5 --test 48"
    own = {
        "sst2": "--runs 24 --record-every 2 --metric loss --metric accuracy",
        "rte": "--runs 24 --record-every 2 --metric loss --metric accuracy",
        "boolq": "--runs 16 --record-every 4 --metric loss --metric accuracy",
        "webnlg": "--runs 16 --record-every 4",
        "wmt16_de_en": "--runs 10 --record-every 4 --metric loss --metric bleu --metric rougeL --generate-every 24",
    }[task]
    gradients = "--gradients both --gradient-points 4"
    return f"gptfl collect --task {task} --data {{data}}/{task} --name {task} {common} {own} {gradients}"


TEXTS = (
    f"gptfl collect --task webnlg --data {{data}}/webnlg --name webnlg-text --model {MODEL} --train-layers 6 "
    "--precision fp32 --subset-size 32 --steps 48 --lr 2e-5 --test 48 --runs 12 --record-every 24 --accumulate 4 "
    "--metric loss --metric bleu --metric rougeL"
)
"""WebNLG with its answers, at three points of each run."""


# ---------------------------------------------------------------- tables


def many_comparisons(found: Mapping[str, Any]) -> str:
    """A line an estimator, a column a recording."""
    return side_by_side(found, title)


def title(name: str) -> str:
    """The recording and what sets this result apart, from the name of its file."""
    first, _, rest = name.partition("-")
    rest = rest.removesuffix("-text").replace("-", " ")
    return f"{rest}, {first}" if first in ("bleu", "rougeL") else rest


def by_task(found: Mapping[str, Any]) -> str:
    """A line an estimator and task, the average over tasks first."""
    (result,) = found.values()
    rows = []
    for row in result["estimators"]:
        if row["error"]:
            continue
        rows.append([label(row), "all", *(cell(name, row["scores"].get(name), False) for name in SCORES)])
        for task, scores in row.get("by_task", {}).items():
            rows.append(["", task, *(number(name, (scores.get(name) or {}).get("value")) for name in SCORES)])
    return table(["estimator", "task", *SCORES.values()], rows)


def detections(found: Mapping[str, Any]) -> str:
    """A line an order: the area under the curve of flips found."""
    (result,) = found.values()
    rows = [[name, f"{one['area']:.3f}"] for name, one in result["detection"].items()]
    return table(["order", "area (0.5 random, 1 perfect)"], rows)


def corrections(found: Mapping[str, Any]) -> str:
    """A table a metric: a line an order of checking, a column a share checked."""
    (result,) = found.values()
    parts = []
    for metric in ("found", "accuracy", "loss"):
        rows = [[one["order"], *(mean_of(values) for values in one[metric])] for one in result["orders"]]
        label = "share of flips corrected" if metric == "found" else metric
        parts.append(table([f"{label}, by share checked", *(f"{share:.0%}" for share in result["shares"])], rows))
    return "\n\n".join(parts)


def sweeps(found: Mapping[str, Any]) -> str:
    """A table for each sweep: a line a combination."""
    tables = []
    for result in found.values():
        axes = list(result["axes"])
        rows = [
            [
                *(str(point[axis]) for axis in axes),
                *(number(name, point[name]) for name in SCORES),
                number("mse", point["mean_run_mse"]),
            ]
            for point in result["points"]
        ]
        tables.append(table([*axes, *SCORES.values(), "mean-run's MSE"], rows))
    return "\n\n".join(tables)


def variants(found: Mapping[str, Any]) -> str:
    """A line a variant of gptfluence."""
    rows = []
    for name, result in found.items():
        for row in result["estimators"]:
            if row["name"] == "gptfluence" or (row["name"] == "mean-run" and name == next(iter(found))):
                scores = [cell(key, row["scores"].get(key), False) for key in SCORES]
                rows.append([f"{title(name)}: {row['estimator']}", *scores])
    return table(["variant", *SCORES.values()], rows)


def costs(found: Mapping[str, Any]) -> str:
    """Seconds and operations a simulated trajectory."""
    (result,) = found.values()
    rows = []
    for row in result["estimators"]:
        cost = row.get("cost")
        if row["error"] or not cost:
            continue
        flops = "–" if cost["flops"] is None else f"{cost['flops']:.2g}"
        rows.append([label(row), f"{cost['seconds']:.2g}", flops, f"{row['seconds']:.2g}"])
    return table(["estimator", "seconds a trajectory", "FLOPs a trajectory", "seconds to fit, once a fold"], rows)


STUDIES = (
    Study("recordings", tuple(recording(task) for task in TASKS)),
    Study(
        "features",
        tuple(f"gptfl featurize {dynamics(task)}" for task in TASKS),
    ),
    Study(
        "loss",
        tuple(compare(task, f"loss-{task}", f"--folds 4 {LEARNED} {GRADIENTS} {OWN_RUN}") for task in TASKS),
        tuple(f"loss-{task}" for task in TASKS),
        many_comparisons,
    ),
    Study(
        "generation",
        (
            TEXTS,
            f"gptfl featurize {dynamics('webnlg-text')}",
            *(
                compare(task, f"{metric}-{task}", f"--folds 4 --metric {metric}")
                for task in ("webnlg-text", "wmt16_de_en")
                for metric in ("bleu", "rougeL")
            ),
        ),
        tuple(f"{metric}-{task}" for task in ("webnlg-text", "wmt16_de_en") for metric in ("bleu", "rougeL")),
        many_comparisons,
    ),
    Study(
        "unseen",
        tuple(
            compare(task, f"unseen-{task}-{side}", f"--unseen {side}{more}")
            for task in ("rte", "webnlg")
            for side, more in (("train", " --unseen-share 0.1"), ("test", ""), ("both", " --unseen-share 0.1"))
        ),
        tuple(f"unseen-{task}-{side}" for task in ("rte", "webnlg") for side in ("train", "test", "both")),
        many_comparisons,
    ),
    Study(
        "instruction",
        (
            f"gptfl collect --task {','.join(MIXED)} --data {{data}} --per-task 40 --name mixture --model {MODEL} "
            "--train-layers 6 --runs 16 --subset-size 64 --batch-size 8 --accumulate 4 --steps 48 --lr 2e-5 --test 48 "
            "--record-every 8 --gradients reference --gradient-points 4",
            f"gptfl featurize {dynamics('mixture')}",
            compare("mixture", "loss-mixture", f"--folds 4 {LEARNED} {GRADIENTS}"),
        ),
        ("loss-mixture",),
        by_task,
    ),
    Study("cost", (compare("rte", "cost-rte", "--cost"),), ("cost-rte",), costs),
    Study(
        "ablations",
        tuple(
            f"gptfl compare {dynamics('sst2')} --sweep {axis}={values} --output {{raw}}/sweep-sst2-{axis}.json "
            f"--figure {{raw}}/sweep-sst2-{axis}.png"
            for axis, values in (("order", "1,2,3,5,10"), ("every", "1,2,3,6"))
        ),
        ("sweep-sst2-order", "sweep-sst2-every"),
        sweeps,
    ),
    Study(
        "encoders",
        (
            f"gptfl featurize {dynamics('sst2')} --encoder tfidf-svd",
            f"gptfl featurize {dynamics('sst2')} --encoder causal-lm --set model={MODEL}",
            f"gptfl compare {dynamics('sst2')} --sweep encoder=minilm,causal-lm,tfidf-svd "
            "--output {raw}/sweep-sst2-encoder.json --figure {raw}/sweep-sst2-encoder.png",
        ),
        ("sweep-sst2-encoder",),
        sweeps,
    ),
    Study(
        "mislabelled",
        (
            f"gptfl collect --task sst2 --data {{data}}/sst2 --name flipped --model {MODEL} --train-layers 6 "
            "--flip-labels 0.4 --runs 12 --subset-size 32 --steps 48 --lr 2e-5 --test 48 --record-every 12 "
            "--metric loss --metric accuracy --gradients reference --gradient-points 4",
            f"gptfl featurize {dynamics('flipped')}",
            f"gptfl fit --estimator gptfluence {dynamics('flipped')}",
            f"gptfl fit --estimator tracin-cp {dynamics('flipped')}",
            f"gptfl rank {dynamics('flipped')} --estimator tracin-cp --estimator gptfluence --on self "
            "--output {raw}/flips-sst2.json --figure {raw}/flips-sst2.png",
        ),
        ("flips-sst2",),
        detections,
    ),
    Study(
        "relabelled",
        (
            f"gptfl relabel-study {dynamics('flipped')} --estimator tracin-cp --estimator gptfluence --on self "
            "--shares 0.1,0.2,0.4 --repeats 3 --steps 96 --output {raw}/relabel-sst2.json "
            "--figure {raw}/relabel-sst2.png",
        ),
        ("relabel-sst2",),
        corrections,
    ),
    Study(
        "variants",
        (
            f"gptfl compare {dynamics('sst2')} --estimator gptfluence --estimator gptfluence:start=persistence "
            "--estimator gptfluence:start=random --estimator gptfluence:shared=true "
            "--estimator gptfluence:weight_decay=5e-6 --estimator gptfluence:weight_decay=0 "
            "--estimator gptfluence:shared=true,start=random,weight_decay=5e-6 "
            "--output {raw}/variants-sst2-cls.json",
            f"gptfl featurize {dynamics('sst2')} --encoder minilm --set pooling=mean "
            "--output $GPTFL_WORKSPACE/mean-pooled.h5",
            f"gptfl compare {dynamics('sst2')} --estimator gptfluence --features $GPTFL_WORKSPACE/mean-pooled.h5 "
            "--output {raw}/variants-sst2-mean.json",
        ),
        ("variants-sst2-cls", "variants-sst2-mean"),
        variants,
    ),
)
"""In the order of the page."""


SITE = Page(ROOT / "docs" / "reproduction.md", ROOT / "docs" / "reproduction", STUDIES)

if __name__ == "__main__":
    SITE.main(__doc__)
