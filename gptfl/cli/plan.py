"""What ``gptfl collect`` tells of a recording before it begins."""

from typing import TYPE_CHECKING

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


def _checkpoints(plan: "CostEstimate") -> dict[str, str]:
    size = plan.checkpoint_bytes
    return {"checkpoints": f"{console.human_bytes(size)} more, in files of their own"} if size else {}


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
            f"about {console.human_seconds(cost.seconds)} and {console.human_bytes(cost.memory_bytes)} of memory more, "
            f"{console.human_bytes(cost.file_bytes)} of file"
        )
    if plan.sketches is not None:
        sketches = plan.sketches
        rows["sketches"] = (
            f"{'along the same run' if plan.gradients else 'one reference run besides'}; {sketches.pool} + {sketches.test} "
            f"gradients in {sketches.dimensions} dimensions at steps {', '.join(map(str, sketches.points))}: about "
            f"{console.human_seconds(sketches.seconds)} ({console.human_seconds(sketches.per_example)} an example) and "
            f"{console.human_bytes(sketches.memory_bytes)} of memory more, {console.human_bytes(sketches.file_bytes)} of file"
        )
    return rows


def _identified(plan: "CostEstimate") -> dict[str, str]:
    """How well the design tells effects apart, as the share of their variance that it leaves."""
    found = plan.identifies
    if found is None:
        return {}
    rows = {
        "identifies": f"{found.effects:.3g} of {found.examples - 1} effects in all, by {found.runs} runs to fit, where "
        "nothing is known of the examples beforehand",
        "  an example": f"{found.example:.0%} of what its effect may be stays open (as of a random group's)",
    }
    if found.group is not None:
        rows["  a group"] = f"{found.group:.0%} stays open of a group's that two runs to fit differ in"
    if found.classes:
        least, most = (f"{share:.0%}" for share in (min(found.classes.values()), max(found.classes.values())))
        rows["  a class"] = (
            f"{least if least == most else f'{least} to {most}'} stays open of a class's, against the rest"
        )
    return rows


def announce(plan: "CostEstimate") -> None:
    """Print what a recording will be and cost, and what its design will tell."""
    recorded = plan.runs - plan.runs_left
    trained = console.human_count(plan.trained_parameters)
    console.say("Plan")
    console.show_pairs(
        {
            "runs": f"{plan.runs}" + (f" ({recorded} recorded already)" if recorded else ""),
            "each run": f"{plan.steps} steps of {plan.batch_size}, {plan.subset} of {plan.pool} examples, "
            f"measured {plan.recorded} times on {plan.test} test examples",
            **_generation(plan),
            "training": f"{trained} of {console.human_count(plan.parameters)} parameters, "
            f"lr {plan.learning_rate:g}, {plan.precision} on {plan.device}",
            "tokens": f"{console.human_count(plan.forward_tokens)} forward, "
            f"{console.human_count(plan.backward_tokens)} backward",
            "time": f"about {console.human_seconds(plan.seconds)} "
            f"({console.human_seconds(plan.seconds_per_step)} a step, "
            f"{console.human_seconds(plan.seconds_per_evaluation)} a measurement)",
            "memory": f"about {console.human_bytes(plan.memory_bytes)} and activations"
            + (f", in each of {plan.processes} processes" if plan.processes > 1 else ""),
            "file": f"about {console.human_bytes(plan.file_bytes)}",
            **_checkpoints(plan),
            **_gradients(plan),
            **_identified(plan),
        }
    )
    for text in plan.notes:
        console.note(text)
