"""Makes hostile files of every kind that gptfl reads, and counts what happens: python tools/fuzz_files.py --files 1000

Every file is read by gptfl's own function and by a command that takes it, in a child with bounds on memory and time.
It must be taken, or refused in one line. A traceback, several lines, someone else's warning, what a terminal would
obey, a wrong exit code, over two seconds or over 512 MiB more than before is a fault; the script then exits 1.
"""

import argparse
import contextlib
import json
import os
import re
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import IO, Any

import hostile_files

SLOW, FAT = 2.0, 512 * 2**20
"""Seconds of the processor, and bytes; a command may take so much more than it takes on the whole file."""
READS = 4
"""A command may read a file so often."""
LIMIT = 2 * 2**30
"""A child may ask for so much more address space than its parent has."""
HANGS = 60.0
"""Seconds of the processor that a file may take in all, or of the clock without any."""
TELLS = 250
"""Counts are printed after so many files."""
NOTE = re.compile(r"(note|warning): .*|[a-z ]+: \d+ of \d+\b.*")
"""What a command may tell beside: notes, and how far it is."""
CODES = (0, 2, 3, 4, 5)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one reading of one file: by ``what`` (a function or a command), refused by ``error`` if at all."""

    number: int
    file: str
    harm: str
    what: str
    error: str
    fault: str
    seconds: float
    extra: int


def memory(field: str) -> int:
    """Bytes of a field of this process's status, such as VmRSS."""
    found = re.search(rf"^{field}:\s*(\d+)", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


@contextlib.contextmanager
def measured() -> Iterator[dict[str, Any]]:
    """Seconds of the processor, which other programs don't lengthen, and the peak of memory that a block takes."""
    costs: dict[str, Any] = {}
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, started = memory("VmRSS"), time.process_time()
    try:
        yield costs
    finally:
        costs["seconds"] = time.process_time() - started
        costs["extra"] = max(0, memory("VmHWM") - before)


@contextlib.contextmanager
def unmeasured() -> Iterator[dict[str, Any]]:
    """In the place of ``measured``, where other programs run beside."""
    yield {"seconds": 0.0, "extra": 0}


def run_command(words: Sequence[str], folder: Path) -> tuple[int, str, str]:
    """Exit code and what a command wrote to both streams, anything that C libraries write included."""
    from gptfl.cli.main import run

    code: Any = 0
    kept, files = [os.dup(stream) for stream in (1, 2)], [folder / "stdout", folder / "stderr"]
    with (
        files[0].open("w", encoding="utf-8", errors="surrogateescape") as out,
        files[1].open("w", encoding="utf-8", errors="surrogateescape") as err,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        try:
            sys.argv = ["gptfl", *words]
            run()
        except SystemExit as stop:
            code = stop.code or 0
        except BaseException:  # what the command line would show
            traceback.print_exc()
            code = 1
        finally:
            for stream, handle in zip((1, 2), kept, strict=True):
                os.dup2(handle, stream)
                os.close(handle)
    texts = [file.read_bytes().decode("utf-8", "surrogateescape") for file in files]
    return int(code), texts[0], texts[1]


def fault_of(code: int, out: str, err: str) -> str:
    """What is wrong with how a command ended; empty where nothing is."""
    from gptfl.errors import UNSAFE

    lines = [line for line in err.splitlines() if line.strip() and not NOTE.fullmatch(line)]
    if "Traceback (most recent call last)" in err:
        return f"traceback: {lines[-1][:200]}"
    strange = next((found for found in UNSAFE.findall(out + err) if found not in "\n\t"), None)
    if strange is not None:
        return f"a terminal would obey U+{ord(strange):04X}"
    if code == 5 and "memory" in err:
        return "memory ran out"
    if code not in CODES:
        return f"exit code {code}: {err[-300:]}"
    if code and (len(lines) != 1 or not lines[0].startswith("error: ") or len(lines[0]) > 1500):
        return f"not one line: {' | '.join(lines)[:300]}"
    if not code and lines:
        return f"on stderr: {' | '.join(lines)[:300]}"
    return ""


def read_by(read: Callable[[Path], object], path: Path) -> tuple[str, str]:
    """What a reading function raised, and the fault in it."""
    from gptfl.errors import GptflError, ResourceError

    try:
        read(path)
    except GptflError as refusal:
        error = str(refusal)
        if isinstance(refusal, ResourceError) and "memory" in error:
            return error, "memory ran out"
        return error, "" if error.isprintable() and len(error) < 1500 else "not one line"
    except Exception as escaped:
        where = traceback.extract_tb(escaped.__traceback__)[-1]
        error = f"{type(escaped).__name__}: {escaped}"[:300]
        return error, f"traceback: {error} ({Path(where.filename).name}:{where.lineno})"
    return "", ""


def try_file(number: int, seed: int, base: Path, usual: dict[str, float], only: str = "") -> list[Outcome]:
    """Make file ``number`` and read it by function and by command."""
    random = Random(f"{seed} {number}")
    known = [kind for kind in hostile_files.kinds() if only in kind.file]
    kind = random.choices(known, [len(kind.commands) + 1 for kind in known])[0]
    made = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path, harm = hostile_files.make_hostile(kind, base, Path(folder), random)
        template = random.choice(kind.commands)
        reading = 0.0
        if kind.read is not None:
            with measured() as costs:
                error, fault = read_by(kind.read, path)
            made.append((kind.read.__name__, error, fault, costs, 0.0))
            reading = costs["seconds"]
        words = hostile_files.as_command(template, kind, base, Path(folder), path)
        with measured() as costs:
            code, out, err = run_command(words, Path(folder))
        error = err.strip()[-300:] if code else ""
        made.append((template, error, fault_of(code, out, err), costs, usual.get(template, 0.0) + READS * reading))
        hostile_files.free(path.parent)
    return [
        Outcome(number, kind.file, harm, what, error, fault or costly(costs, normal), **costs)
        for what, error, fault, costs, normal in made
    ]


def costly(costs: dict[str, Any], usual: float) -> str:
    """Whether a reading took too long or too much."""
    if costs["seconds"] > SLOW + usual:
        return f"slow: {costs['seconds']:.1f} s"
    return f"fat: {costs['extra'] >> 20} MiB" if costs["extra"] > FAT else ""


def usual_seconds(base: Path) -> dict[str, float]:
    """How long each command takes on the whole files, which it must take without a word from anyone else."""
    taken = {}
    for kind in hostile_files.kinds():
        for template in kind.commands:
            with tempfile.TemporaryDirectory() as folder:
                scratch = Path(folder)
                path = hostile_files.make_whole(kind, base, scratch)
                with measured() as costs:
                    code, out, err = run_command(hostile_files.as_command(template, kind, base, scratch, path), scratch)
                if code or fault_of(code, out, err):
                    raise SystemExit(f"gptfl {template} does not take the whole {kind.file}: {err or out}")
                taken[template] = costs["seconds"]
    return taken


def outcomes(
    base: Path, usual: dict[str, float], numbers: Sequence[int], seed: int, only: str = ""
) -> Iterator[Outcome]:
    """Each file in turn, in children that are taken again until one dies or hangs."""
    waiting = list(reversed(numbers))
    while waiting:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)  # else it would wait for ever to be read where its parent was killed
            serve(writing, base, usual, list(reversed(waiting)), seed, only)
        os.close(writing)
        status = None
        try:
            with os.fdopen(reading, "r", encoding="utf-8") as lines:
                while waiting:
                    line = lines.readline() if has_line(lines, child) else None
                    if not line:
                        os.kill(child, signal.SIGKILL)
                        _, status = os.waitpid(child, 0)
                        fault = "hangs" if line is None else f"dies (status {status})"
                        yield Outcome(waiting.pop(), "", "", "", "", fault, HANGS, 0)
                        break
                    yield from (Outcome(**one) for one in json.loads(line))
                    waiting.pop()
        finally:
            if status is None:
                if waiting:  # whoever asked wants no more
                    os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)


def has_line(lines: IO[str], child: int) -> bool:
    """Wait for a child to tell of a file; False where it hangs. One that gets little of the processor doesn't."""
    began = before = processor_seconds(child)
    while not select.select([lines], [], [], HANGS)[0]:
        now = processor_seconds(child)
        if now - began > HANGS or now - before < HANGS / 1000:
            return False
        before = now
    return True


def processor_seconds(child: int) -> float:
    """Seconds of the processor that a process has taken so far."""
    fields = Path(f"/proc/{child}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def serve(writing: int, base: Path, usual: dict[str, float], numbers: Sequence[int], seed: int, only: str) -> None:
    """Try files in a child that can't take the machine along; never returns."""
    limit = memory("VmSize") + LIMIT
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        for number in numbers:
            tried = [asdict(one) for one in try_file(number, seed, base, usual, only)]
            os.write(writing, (json.dumps(tried) + "\n").encode())
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def ready_base(base: Path) -> Path:
    """A folder of whole files, which are made where it is missing or empty."""
    lacking = hostile_files.lacking_in(base)
    if lacking and base.exists() and (not base.is_dir() or any(base.iterdir())):
        raise SystemExit(f"--base {base} lacks {lacking[0]}: name a folder that is empty or that this script filled")
    if lacking:
        hostile_files.make_base(base)
    return base


def summary(tried: Sequence[Outcome]) -> str:
    """The counts, in two lines."""
    refused = sum(bool(one.error) and not one.fault for one in tried)
    taken = sum(not one.error and not one.fault for one in tried)
    faults = Counter(one.fault.split(":")[0] for one in tried if one.fault)
    files = len({one.number for one in tried})
    return (
        f"{files} files, {len(tried)} readings: {refused} refused, {taken} taken, {sum(faults.values())} faults "
        f"{dict(faults) if faults else ''}\nslowest {max((one.seconds for one in tried), default=0.0):.2f} s, "
        f"most memory {max((one.extra for one in tried), default=0) >> 20} MiB"
    )


def main() -> int:
    """Try files and print what became of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=1000, help="how many to make")
    parser.add_argument("--first", type=int, default=0, help="the number of the first")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="only kinds whose file has this in its name")
    parser.add_argument("--base", type=Path, help="a folder of whole files, filled where it is missing or empty")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a child of a process with threads may hang
    for number in (signal.SIGINT, signal.SIGTERM):  # also where it was started in the background
        signal.signal(number, signal.default_int_handler)
    tried = []
    with tempfile.TemporaryDirectory() as made:
        base = ready_base(arguments.base or Path(made) / "base")
        usual = usual_seconds(base)
        numbers = range(arguments.first, arguments.first + arguments.files)
        with contextlib.suppress(KeyboardInterrupt):  # what was tried by then counts
            for one in outcomes(base, usual, numbers, arguments.seed, arguments.only):
                tried.append(one)
                if one.number % TELLS == 0 and len(tried) > 1 and tried[-2].number != one.number:
                    print(f"before {one.number}: {summary(tried[:-1])}", flush=True)
                if one.fault:
                    print(f"FAULT {one.number} {one.file} ({one.harm}) {one.what}: {one.fault}", flush=True)
    print(summary(tried))
    return int(any(one.fault for one in tried))


if __name__ == "__main__":
    sys.exit(main())
