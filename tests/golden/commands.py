"""The command lines that made the archive, and those of which only what they would do is kept.

They are run in a folder that holds ``data`` and ``archive``, so that every path in them, and in the files that they
write, is relative. A recording, a simulator and so on is called by the name that it has here.
"""

import shlex

TINY = "collect --model tiny --device cpu --workspace archive"
SMALL = "--pool 12 --test 6 --subset-size 6 --batch-size 3 --steps 4"

COLLECT = {
    "plain": f"--task errands --runs 7 {SMALL} --metric loss --metric accuracy",
    "few-runs": "--task errands --few-runs --subset-size 4 --pool 24 --test 6 --steps 4 --sketch-points 3 "
    "--sketch-dimensions 16",
    "along": f"--task errands --runs 7 {SMALL} --metric loss --metric accuracy --gradients both --gradient-points 3 "
    "--sketches --sketch-points 3 --sketch-dimensions 16",
    "own": f"--task errands --runs 4 {SMALL} --gradients own",
    "mlp-sketches": f"--task errands --runs 4 {SMALL} --sketches --sketch-points 2 --sketch-dimensions 8 "
    "--sketch-modules '*mlp*'",
    "mixture": "--task errands,sst2 --data data/mix --runs 7 --per-task 6 --test 8 --subset-size 8 --steps 4 "
    "--lr 1e-3 --metric loss --metric accuracy",
    "plain-mixture": "--task errands,sst2 --data data/mix --no-instructions --runs 4 --pool 12 --test 6 "
    "--subset-size 6 --steps 2",
    "instructed": f"--task errands --instructions --runs 4 {SMALL}",
    "lora": f"--task errands --lora r=2,alpha=4,dropout=0.05 --lr 1e-2 --runs 7 {SMALL}",
    "kept": f"--task errands --lora r=1 --train-layers 1 --lr 1e-2 --runs 2 {SMALL} --checkpoints 2",
    "generated": "--task jsonl --data data/texts --metric loss --metric bleu --metric rougeL --runs 7 --pool 10 "
    "--test 4 --subset-size 6 --steps 4 --generate-every 2 --generate-tokens 6 --lr 1e-3",
    "sampled": "--task jsonl --data data/texts --metric bleu --decode nucleus --runs 4 --pool 8 --test 4 "
    "--subset-size 4 --steps 2 --generate-tokens 4 --lr 1e-3",
    "flipped": f"--task errands --flip-labels 0.25 --runs 7 {SMALL} --metric loss --metric accuracy --sketches "
    "--sketch-points 2 --sketch-dimensions 16",
    "repeats": f"--task errands --repeats 4 --runs 7 {SMALL}",
    "reserved": "--task errands --reserve-pool 4 --runs 7 --pool 16 --test 6 --subset-size 6 --batch-size 3 --steps 4",
    "balanced": "--task errands --design balanced --runs 4 --pool 18 --test 4 --subset-size 8 --epochs 1",
    "leave-out": f"--task errands --design leave-out --leave-out-size 2 --runs 4 {SMALL}",
    "repeat-design": f"--task errands --design repeat --runs 4 {SMALL}",
    "wordless": f"--task errands --no-texts --runs 4 {SMALL}",
    "recipe": f"--task errands --runs 4 {SMALL} --schedule constant --lr 2e-3 --train-layers 1 --accumulate 3 "
    "--record-every 2 --max-length 64 --precision bf16 --seed 7",
    # Interrupted after its third run: four of seven are left, and two lie beside the recording.
    "interrupted": f"--task errands --runs 7 {SMALL}",
}
"""Recordings: name -> options of ``gptfl collect``; each has its settings, and its plans, in the archive."""
INTERRUPTED, RUNS_DONE = "interrupted", 3

COMPOSED = {
    "defaults": "--task errands",
    "few-runs-defaults": "--task errands --few-runs",
    "few-runs-anyway": "--task errands --few-runs --runs 9 --design balanced",
    "contrast": "--task errands --design contrast --runs 8 --pool 60 --test 4",
    "leave-out-defaults": "--task errands --design leave-out --runs 4 --pool 60 --test 4",
    "reserved-contrast": "--task errands --design contrast --reserve-pool 8 --runs 6 --pool 40 --test 4 --repeats 2",
    "gradients-defaults": "--task errands --gradients reference --sketches --runs 2 --pool 20 --test 4",
    "lora-defaults": "--task errands --lora r=8 --runs 2 --pool 20 --test 4",
    "top-lora": "--task errands --lora r=4,targets=query_key_value+dense --train-layers 2 --runs 2 --pool 20 --test 4",
    "checkpoints": "--task errands --checkpoints all --runs 2 --pool 20 --test 4 --steps 3",
    "data-lr": "--task sst2 --data data/mix/sst2 --runs 2 --pool 8 --test 4",
    "mixture-lr": "--task errands,sst2 --data data/mix --flip-labels 0.5 --runs 2 --per-task 4 --test 4",
    "seeded": "--task errands --seed 123456789 --runs 3 --pool 20 --test 4 --epochs 1.5 --batch-size 5",
}
"""Recordings that would be made: nothing is trained for these, and nothing of them is archived."""

IMPORT = {
    "imported": "archive/released --metric loss",
    "imported-rates": "archive/released --lr 1e-4 --schedule constant",
    "imported-sketches": "archive/released --lr 1e-4 --sketches archive/sketches.npz",
    "imported-texts": "archive/released --train-texts archive/released/train_texts.json "
    "--test-texts archive/released/test_texts.json --lr 1e-4",
    "imported-back": "archive/exported",
}
"""Recordings: name -> arguments of ``gptfl import gptdynamics``."""

FEATURIZE = {
    "plain.tfidf": "plain --encoder tfidf-svd --set dims=4",
    "plain.causal": "plain --encoder causal-lm --set model=tiny --set device=cpu --set text=target",
    "plain.answers": "plain --encoder answer-state --set dimensions=8 --set device=cpu",
    "along.gradients": "along",
    "along.tfidf": "along --encoder tfidf-svd --set dims=4",
    "few-runs.gradients": "few-runs",
    "few-runs.folded": "few-runs --encoder gradients --set points=[2,4] --set dimensions=8 --set divided=pool "
    "--output archive/few-runs-folded.features.h5",
    "mixture.tfidf": "mixture --encoder tfidf-svd --set dims=4 --set text=prompt",
    "generated.tfidf": "generated --encoder tfidf-svd --set dims=3",
    "flipped.gradients": "flipped",
    "reserved.tfidf": "reserved --encoder tfidf-svd --set dims=4",
    "imported.tfidf": "imported --encoder tfidf-svd --set dims=3",
}
"""Features: name -> recording and options of ``gptfl featurize``."""

PAPER = "--estimator gptfluence --set epochs=40"
FIT = {
    "along.persistence": "along --estimator persistence",
    "along.mean-run": "along --estimator mean-run",
    "along.class-share": "along --estimator class-share",
    "along.gptfluence": f"along {PAPER} --encoder tfidf-svd",
    "along.gptfluence-gradients": f"along {PAPER} --encoder gradients --set feature_set=raw-0 --set width=4",
    "along.gptfluence-course": f"along {PAPER} --encoder tfidf-svd --set order=2 --set projection=linear "
    "--set anchored=true --set step_size=true --set rollout=all --set around=mean-run --set shared=true",
    "along.exposure-gp": "along",
    "along.exposure-gp-texts": "along --estimator exposure-gp --encoder tfidf-svd",
    "along.exposure-gp-plain": "along --estimator exposure-gp --set features=false --set link=log",
    "along.exposure-gp-accuracy": "along --estimator exposure-gp --metric accuracy",
    "along.exposure-gp-every": "along --estimator exposure-gp --every 2 --seed 7",
    "along.exposure-gp-unseen": "along --estimator exposure-gp --encoder tfidf-svd --unseen test --unseen-share 0.3",
    "along.class-share-unseen": "along --estimator class-share --unseen test",
    "along.datamodels": "along --estimator datamodels",
    "along.datamodels-all": "along --estimator datamodels --set steps=every --set weighted=true",
    "along.simfluence-linear": "along --estimator simfluence-linear",
    "along.simfluence-additive": "along --estimator simfluence-additive",
    "along.simfluence-multiplicative": "along --estimator simfluence-multiplicative",
    "along.tracin-cp": "along --estimator tracin-cp",
    "along.grad-dot": "along --estimator grad-dot",
    "along.tracin-own-run": "along --estimator tracin-own-run",
    "reserved.exposure-gp-unseen": "reserved --estimator exposure-gp --unseen train",
    "reserved.class-share-unseen": "reserved --estimator class-share --unseen both --seed 7",
    "few-runs.exposure-gp": "few-runs",
    "few-runs.folded": "few-runs --estimator exposure-gp --features archive/few-runs-folded.features.h5",
    "mixture.class-share": "mixture --estimator class-share",
    "mixture.exposure-gp": "mixture --estimator exposure-gp",
    "lora.mean-run": "lora --estimator mean-run",
    "generated.rougeL": "generated --estimator exposure-gp --metric rougeL",
    "generated.bleu": f"generated {PAPER} --metric bleu",
    "flipped.exposure-gp": "flipped",
    "imported.simfluence-linear": "imported --estimator simfluence-linear",
    "imported.exposure-gp": "imported --estimator exposure-gp",
    "imported-sketches.exposure-gp": "imported-sketches",
    "imported-sketches.tracin-cp": "imported-sketches --estimator tracin-cp",
}
"""Simulators: name -> recording and options of ``gptfl fit``."""

SIMULATE = {
    "subset": "along.exposure-gp --subset archive/subset.txt --orders 3",
    "drop": "along.exposure-gp --drop archive/subset.txt --against archive/subset.txt --orders 1",
    "curriculum": "along.gptfluence --curriculum archive/curriculum.jsonl --lr 2e-3",
    "longer": "along.gptfluence --subset archive/subset.txt --epochs 3 --batch-size 2 --seed 7",
    "observed": "along.exposure-gp --curriculum archive/curriculum.jsonl --observe archive/observed.jsonl",
    "newcomers": "along.exposure-gp-texts --subset archive/with-new.txt --new-train archive/new-train.jsonl "
    "--new-test archive/new-test.jsonl",
}
"""Predictions: name -> simulator and options of ``gptfl simulate``; beside the held-out runs of every simulator."""

ROWS = "--estimator exposure-gp@gradients --estimator gptfluence@tfidf-svd:epochs=40 --estimator tracin-cp --figure archive/x.png"
COMPARE = {
    "along.comparison.json": f"along {ROWS} --estimator datamodels",
    "along.comparison.csv": f"along {ROWS} --cost",
    "along.comparison.tex": f"along {ROWS}",
    "along.sweep.json": "along --estimator simfluence-additive --sweep every=1,2 --figure archive/x.png",
    "along.sweep.csv": "along --estimator simfluence-additive --sweep every=1,2 --figure archive/x.png",
    "along.curve.json": "along --estimator exposure-gp@gradients --sweep runs=2,4 --figure archive/x.png",
    "along.curve.csv": "along --estimator exposure-gp@gradients --sweep runs=2,4 --figure archive/x.png",
}
"""Tables: file -> recording and options of ``gptfl compare``."""

RANK = {
    "along.rank.json": "along.exposure-gp --how closed-form",
    "along.rank.csv": "along.exposure-gp --how closed-form --on group:archive/tests.txt --top 5 --reverse",
    "along.itself.json": "along.tracin-cp --on self --model tiny",
    "along.dropped.json": "along.gptfluence --how drop --orders 2",
}
"""Tables: file -> simulator and options of ``gptfl rank``; the third also keeps the first scores of the pool."""

SELECT = {
    "along.selected.txt": "along.exposure-gp --size 4 --max-share-per-class 0.5 --search 0",
    "along.diverse.txt": "along.exposure-gp --size 4 --diversity 0.5 --cautious 0.5 --search 20",
}
"""Files of ids: file -> simulator and options of ``gptfl select``; what ``--json`` printed lies beside them."""

VERIFY = {"along.verified.json": "along.exposure-gp --subset archive/subset.txt"}
STUDIES = {
    "relabel-study": "flipped.exposure-gp --shares 0.25,0.5 --repeats 2 --steps 2",
    "select-study": "along.exposure-gp --size 4 --search 0 --random 2 --repeats 2 --score-on 3",
}
"""Studies: command -> simulator and options; what was trained is kept in a .jsonl file."""
EXPORT = {
    "archive/exported": "plain",
    "archive/exported-tables": "flipped --format csv",
    "archive/exported.csv": "plain",
    "archive/exported.parquet": "plain",
}
"""Exports: target -> recording and options of ``gptfl export``."""


def collect(name: str, more: str = "") -> list[str]:
    """The words of the command that records ``name``; ``more`` options, each with a value, take the place of its own."""
    words, others = shlex.split(f"{TINY} --name {name} {({**COLLECT, **COMPOSED})[name]}"), shlex.split(more)
    for flag in others[::2]:
        if flag in words:
            place = words.index(flag)
            del words[place : place + 2]
    return [*words, *others]


def import_(name: str) -> list[str]:
    """The words of the command that imports ``name``."""
    return shlex.split(f"import gptdynamics {IMPORT[name]} --name {name} --workspace archive")


def on_recording(command: str, options: str) -> list[str]:
    """The words of a command whose options begin with the name of a recording."""
    recording, _, options = options.partition(" ")
    return [command, "--dynamics", f"archive/{recording}.dynamics.h5", *shlex.split(options)]


def on_simulator(command: str, options: str, files: dict[str, str]) -> list[str]:
    """The words of a command whose options begin with the name of a simulator; ``files`` tells where each lies."""
    simulator, _, options = options.partition(" ")
    recording = f"archive/{simulator.partition('.')[0]}.dynamics.h5"
    return [command, "--simulator", files[simulator], "--dynamics", recording, *shlex.split(options)]


def questions() -> dict[str, str]:
    """Everything that simulators were asked: about the held-out runs each, then ``SIMULATE``."""
    return {f"{name}.held-out": name for name in FIT} | SIMULATE


def answer(name: str) -> str:
    """Where the predictions for a question lie in the archive."""
    return f"archive/{name}.predictions.h5"


def inspected(files: dict[str, str]) -> list[str]:
    """A few files of each kind."""
    recordings = (
        "plain",
        "few-runs",
        "along",
        "mixture",
        "generated",
        "flipped",
        "reserved",
        "interrupted",
        "imported",
    )
    simulators = ("along.persistence", "along.exposure-gp", "along.exposure-gp-unseen", "generated.bleu")
    return [
        *(f"archive/{name}.dynamics.h5" for name in recordings),
        f"archive/{INTERRUPTED}.dynamics.h5.runs/run-0001.h5",
        "archive/along.gradients.features.h5",
        "archive/plain.tfidf-svd.features.h5",
        *(files[name] for name in simulators),
        *map(answer, ("along.exposure-gp.held-out", "drop", "newcomers")),
    ]
