"""What a recording, or trainings for a check of predictions, will be and cost, said before they begin."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.filesize import decimal

from gptfl.cli import console

if TYPE_CHECKING:
    from gptfl.recording.cost import CostEstimate


def _generation(plan: "CostEstimate") -> dict[str, str]:
    if not plan.generated:
        return {}
    return {
        "generating": f"{plan.generated} times a run, at most {plan.generated_tokens} tokens for each test example: "
        f"up to {console.human_seconds(plan.seconds_per_generation)} each time, in the time below"
    }


def _at_once(plan: "CostEstimate") -> dict[str, str]:
    """When the last run will be done, where several are under way at once."""
    if plan.workers == 1:
        return {}
    if plan.elapsed is None:
        return {"at once": "as many runs as the executor has room for; the time is that of all together"}
    return {
        "at once": f"{plan.workers} runs, the last one done in about {console.human_seconds(plan.elapsed)} "
        "if each is as fast as here, beside the start of the workers"
    }


def _checkpoints(plan: "CostEstimate") -> dict[str, str]:
    size = plan.checkpoint_bytes
    return {"checkpoints": f"{decimal(size)} more, in files of their own"} if size else {}


def _gradients(plan: "CostEstimate") -> dict[str, str]:
    rows = {}
    if plan.seconds_per_derivative:
        rows["derivatives"] = (
            f"along every run; {console.human_seconds(plan.seconds_per_derivative)} at each measurement, "
            "within the time above"
        )
    if plan.gradients is not None:
        cost = plan.gradients
        rows["gradients"] = (
            f"one reference run besides; {cost.pool} x {cost.test} products at steps {', '.join(map(str, cost.points))}: "
            f"about {console.human_seconds(cost.seconds)} and {decimal(cost.memory_bytes)} of memory more, "
            f"{decimal(cost.file_bytes)} of file"
        )
    if plan.sketches is not None:
        sketches = plan.sketches
        many = sketches.workers or 1
        shared = (
            f"; shared by {many} workers about {console.human_seconds(sketches.seconds / many)}" if many > 1 else ""
        )
        rows["sketches"] = (
            f"{'along the same run' if plan.gradients else 'one reference run besides'}; {sketches.pool} + {sketches.test} "
            f"gradients in {sketches.dimensions} dimensions at steps {', '.join(map(str, sketches.points))}: about "
            f"{console.human_seconds(sketches.seconds)} ({console.human_seconds(sketches.per_example)} an example{shared}) and "
            f"{decimal(sketches.memory_bytes)} of memory more, {decimal(sketches.file_bytes)} of file"
        )
    if plan.reference_bytes:
        rows["kept reference"] = (
            f"{decimal(plan.reference_bytes)} in a folder of its own: the reference run's weights and second moments"
        )
    return rows


def _later(plan: "CostEstimate") -> dict[str, str]:
    """Which trainings the recording can be asked about, beside those that it has."""
    from gptfl.core.texts import counted

    passes = counted(plan.whole_passes, "pass", ".3g", "passes")
    answered = f"trainings of up to {counted(plan.steps, 'step')}, {passes} over all {plan.pool} examples"
    whole = plan.whole_steps
    if whole is not None and whole > plan.steps:
        answered += (
            f". The {whole * plan.batch_size / plan.pool:.3g} that the recipe has would be {whole} steps, and what is longer "
            "than recorded is refused: --epochs-of pool records as many"
        )
    exposures = f"a run sees each of its {plan.subset} examples {counted(plan.passes, 'time', '.3g')}"
    return {"exposures": exposures, "ask later": answered}


GRADIENTS = (
    "which the gradients tell beforehand and the runs correct (five runs of SST-2: 90% of what differs between runs)"
)
FEATURES = "as far as alike examples act alike, which gptfl featurize has to tell: --sketches, or an encoder of texts"


def _identified(plan: "CostEstimate") -> dict[str, str]:
    """Which questions will be answered well, and which hardly."""
    found = plan.identifies
    if found is None:
        return {}
    trainings = f"other {plan.subset} of the {found.examples} examples"
    if plan.left_out is not None:
        trainings = f"all {found.examples} examples but another {plan.left_out}"
    rows = {
        "well told": f"how trainings on {trainings} end, and which examples help or hurt, "
        f"{GRADIENTS if plan.follows_gradients else FEATURES}; gptfl compare says how well here",
        "hardly told": f"the exact effect of one example: by itself, what {found.runs} runs to fit see tells "
        f"{found.effects:.3g} of {found.examples - 1} differences between examples, {1 - found.example:.0%} of what one does",
    }
    if found.group is not None:
        rows["  a group"] = (
            f"{1 - found.group:.0%} of what a group does that two runs to fit differ in is told by these"
        )
    for kind, shares in (("group", found.groups), ("class", found.classes)):
        if shares:
            least, most = (f"{1 - share:.0%}" for share in (max(shares.values()), min(shares.values())))
            told = least if least == most else f"{least} to {most}"
            rows[f"  a {kind}"] = f"{told} of what a {kind} does is told by these"
    return rows


def _subsets(plan: "CostEstimate") -> str:
    """What runs are trained on."""
    if plan.grouped is not None:
        return f"{plan.subset} of {plan.pool} examples, from {plan.grouped}"
    if plan.left_out is None:
        return f"{plan.subset} of {plan.pool} examples"
    return f"all {plan.pool} examples, or all but {plan.left_out}"


def announce(plan: "CostEstimate") -> None:
    """Print what a recording will be and cost, and what its design will tell."""
    recorded = plan.runs - plan.runs_left
    trained = console.human_count(plan.trained_parameters)
    console.say("Plan")
    console.show_pairs(
        {
            "runs": f"{plan.runs}" + (f" ({recorded} recorded already)" if recorded else ""),
            "each run": f"{plan.steps} steps of {plan.batch_size}, {_subsets(plan)}, "
            f"measured {plan.recorded} times on {plan.test} test examples",
            **_generation(plan),
            "training": f"{trained} of {console.human_count(plan.parameters)} parameters, "
            f"lr {plan.learning_rate:g}, {plan.precision} on {plan.device}",
            "tokens": f"{console.human_count(plan.forward_tokens)} forward, "
            f"{console.human_count(plan.backward_tokens)} backward",
            "time": f"about {console.human_seconds(plan.seconds)} "
            f"({console.human_seconds(plan.seconds_per_step)} a step, "
            f"{console.human_seconds(plan.seconds_per_evaluation)} a measurement)",
            **_at_once(plan),
            "memory": f"about {decimal(plan.memory_bytes)} and activations"
            + (f", in each of {plan.processes} processes" if plan.processes > 1 else ""),
            "file": f"about {decimal(plan.file_bytes)}",
            **_checkpoints(plan),
            **_gradients(plan),
            **_later(plan),
            **_identified(plan),
        }
    )
    for text in plan.notes:
        console.note(text)


def announce_trainings(plan: "CostEstimate", trainings: Mapping[str, str]) -> None:
    """Print what real trainings will be, by rows of text, and what they cost."""
    trained, whole = console.human_count(plan.trained_parameters), console.human_count(plan.parameters)
    console.say("Plan")
    console.show_pairs(
        {
            **trainings,
            "training": f"{trained} of {whole} parameters, lr {plan.learning_rate:g}, {plan.precision} on {plan.device}",
            "time": f"about {console.human_seconds(plan.seconds)} ({console.human_seconds(plan.seconds_per_step)} a step)",
            **_at_once(plan),
            "memory": f"about {decimal(plan.memory_bytes)} and activations",
        }
    )
