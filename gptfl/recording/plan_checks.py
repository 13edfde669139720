"""What options of a recording can't be given together, or ask for what no file can hold."""

from gptfl.core.recording_settings import DECODINGS
from gptfl.errors import UsageError
from gptfl.store.safety import MAX_BYTES
from gptfl.store.workspace import safe_name


def check_name(name: str | None) -> None:
    """Raise ``UsageError`` for what can't begin the name of a file."""
    if name is not None and name != safe_name(name):
        raise UsageError(
            f"--name {name!r} can't begin the names of files",
            f"take at most 80 letters, digits, dots, underscores and hyphens, such as {safe_name(name)!r}",
        )


def check_recording_size(
    runs: int, repeats: int, steps: int, batch_size: int, every: int, test: int, metrics: int, widest: int | None = None
) -> None:
    """Refuse what no file can hold, before anything of that size is made.

    Args:
        runs: how many runs.
        repeats: how many more that repeat runs in another order.
        steps: of a run.
        batch_size: examples a step, or packed rows of them.
        every: so many steps lie between two recorded points.
        test: how many test examples are measured.
        metrics: how many numbers each test example has at a recorded point.
        widest: examples of the largest step, as which every step is kept; None where that is ``batch_size``.

    Raises ``UsageError``, which names the options and the size.
    """
    measured = steps // every + 2
    widest = batch_size if widest is None else widest
    packed = f" rows, which hold up to {widest} examples" if widest != batch_size else ""
    size = (runs + max(0, repeats)) * (steps * (widest + 1) * 8 + measured * (test * metrics * 4 + 8))
    if size > MAX_BYTES:
        raise UsageError(
            f"--runs {runs}{f' and --repeats {repeats}' if repeats else ''} of {steps} steps, each of --batch-size "
            f"{batch_size}{packed}, measured {measured} times on --test {test} examples, make a recording of "
            f"{size / 2**30:.3g} GiB, and gptfl reads up to {MAX_BYTES / 2**30:g} GiB",
            "lower --runs, --steps (or --epochs), --batch-size or --test, or raise --record-every",
        )


def check_generation(
    generates: bool, decode: str, every: int | None, tokens: int | None, record_every: int
) -> int | None:
    """How often to generate; None is at every recorded step.

    Args:
        generates: whether any recorded metric reads generated text.
        decode: ``greedy`` or another way of decoding.
        every: so many steps lie between two generations, None for every recorded step.
        tokens: at most so many new tokens a text, None for the metric's own limit.
        record_every: so many steps lie between two recorded points.

    Raises ``UsageError`` for an unknown way of decoding, for an interval that meets steps which aren't recorded,
    and for options that would change nothing because no metric reads generated text.
    """
    if decode not in DECODINGS:
        raise UsageError(f"{decode!r} is unknown", f"use {' or '.join(DECODINGS)}", option="decode")
    given = {"--generate-every": every, "--generate-tokens": tokens, "--decode": decode if decode != "greedy" else None}
    flag, value = next(((flag, value) for flag, value in given.items() if value is not None), ("", None))
    if not generates and flag:
        raise UsageError(
            f"{flag} {value} changes nothing: no metric reads generated text",
            "leave it out, or add --metric bleu or --metric rougeL",
        )
    if every is None or every == record_every:
        return None
    if every % record_every:
        raise UsageError(
            f"--generate-every {every} is no multiple of --record-every {record_every}",
            f"give {record_every * max(1, round(every / record_every))}, or another multiple",
        )
    return every


def check_together(
    processes: int,
    shard: bool,
    device: str,
    precision: str,
    executor: str,
    generates: bool,
    along: str | None,
    workers: int | None = 1,
) -> None:
    """Refuse options of one process that don't go with several, or the other way about.

    Args:
        processes: how many are to be started.
        shard: whether the model is spread over them.
        device: ``auto``, ``cpu``, ``cuda`` or one GPU.
        precision: of the trained weights and their products.
        executor: what carries out the runs.
        generates: whether any recorded metric reads generated text.
        along: the option, if any, that asks for gradients of single examples.
        workers: how many runs the executor carries out at once.

    Raises ``UsageError``, which names the options.
    """
    from gptfl.training.distributed import started_size

    started = started_size()
    if started > 1 and processes not in (1, started):
        raise UsageError(f"--processes {processes}, and {started} were started", "leave --processes out")
    if max(processes, started) == 1:
        if shard:
            raise UsageError("--shard spreads a model over several processes", "give --processes, at least 2")
        return
    many = f"--processes {max(processes, started)}"
    if device.startswith("cuda:"):
        raise UsageError(f"{many} with --device {device}: each process takes a GPU of its own", "use --device cuda")
    if executor != "local":
        raise UsageError(f"{many} with --executor {executor}", "leave one of them out")
    if workers != 1:
        raise UsageError(f"{many} with --executor-set workers={workers}", "leave one of them out")
    if along is not None:
        raise UsageError(
            f"{many} with {along}: gradients of single examples are taken by one process", "leave one of them out"
        )
    if shard and precision == "fp16":
        raise UsageError("--shard with --precision fp16: its loss scale needs whole gradients", "use bf16 or fp32")
    if shard and generates:
        raise UsageError(
            "--shard with a --metric of generated text, which needs the whole model in each process",
            "leave --shard or that --metric out",
        )
