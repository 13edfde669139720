"""The folder that holds the files of one or more recordings under predictable names."""

import contextlib
import os
import re
import shlex
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gptfl.core import real_path, user_path
from gptfl.errors import DataError, GptflWarning, ResourceError
from gptfl.plugins.settings import check_utf8
from gptfl.store.durable import cannot_write, keeps_locks, made, remove_leftovers
from gptfl.store.kinds import KINDS

if TYPE_CHECKING:
    from filelock import BaseFileLock

VARIABLE = "GPTFL_WORKSPACE"
DEFAULT = Path("gptfl-work")
# What the names of a kind hold between the stem and the kind, in order.
_PARTS: dict[str, tuple[str, ...]] = {
    "dynamics": (),
    "features": ("encoder",),
    "simulator": ("estimator", "metric"),
    "predictions": ("estimator", "metric"),
}
_KEY = 6
_LOCK, _SOFT = ".lock", ".lock.soft"
_OWNER = ".lock.owner"
_OWNER_SIZE = 200
_HELD = threading.local()
"""The workspaces that this thread has locked."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """The file that a command takes, and those that it could have taken instead."""

    path: Path
    others: list[Path]


@dataclass(frozen=True, slots=True)
class Workspace:
    """A folder of gptfl's files. ``stem`` is what the names of one recording's files begin with."""

    root: Path

    @classmethod
    def resolve(cls, given: "Path | str | None" = None) -> "Workspace":
        """The workspace that was given, else that of GPTFL_WORKSPACE, else ./gptfl-work."""
        root = user_path((os.environ.get(VARIABLE) or DEFAULT) if given is None or given == "" else given)
        check_utf8(str(root), "the workspace")
        return cls(root)

    @property
    def shown(self) -> str:
        """The folder as messages call it."""
        text = str(self.root)
        return text if self.root.is_absolute() or text.startswith(".") else f".{os.sep}{text}"

    def dynamics_path(self, stem: str) -> Path:
        """Where the recording lies."""
        return self.root / f"{stem}.dynamics.h5"

    def features_path(self, stem: str, encoder: str) -> Path:
        """Where an encoder's features of the recording lie."""
        return self.root / f"{stem}.{_part(encoder)}.features.h5"

    def simulator_path(self, stem: str, estimator: str, metric: str, key: str = "") -> Path:
        """Where a simulator lies.

        Args:
            stem: of the recording.
            estimator: its name.
            metric: its name.
            key: tells apart those of other settings.
        """
        tail = f"-{key[:_KEY]}" if key else ""
        return self.root / f"{stem}.{_part(estimator)}.{_part(metric)}{tail}.simulator.h5"

    def predictions_path(self, stem: str, estimator: str, metric: str, key: str = "") -> Path:
        """Where an estimator's predictions lie.

        Args:
            stem: of the recording.
            estimator: its name.
            metric: its name.
            key: tells apart those of other questions.
        """
        tail = f"-{key[:_KEY]}" if key else ""
        return self.root / f"{stem}.{_part(estimator)}.{_part(metric)}{tail}.predictions.h5"

    def candidates(self, kind: str, stem: str | None = None, **conditions: str) -> list[Path]:
        """The files of a kind (dynamics, features, simulator, predictions), the one made last first.

        ``conditions`` are of ``encoder``, ``estimator`` and ``metric``. Raises ``ResourceError`` where
        the folder can't be read.
        """
        try:
            found = [
                path
                for path in self.root.iterdir()
                if path.name.endswith(f".{kind}.h5") and path.name[0] != "." and _fits(path, kind, stem, conditions)
            ]
            return sorted(found, key=lambda path: (_made(path), path.name), reverse=True)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise ResourceError(
                f"{self.shown} can't be read: {error.strerror}", "mend its permissions or use another --workspace"
            ) from error

    def latest(self, kind: str, stem: str | None = None, **conditions: str) -> FoundFile:
        """The candidate made last, with the others.

        Raises ``DataError`` where there is none, saying which command makes one.
        """
        found = self.candidates(kind, stem, **conditions)
        if found:
            return FoundFile(found[0], found[1:])
        what = KINDS[f"gptfl-{kind}"]
        conditions_text = "".join(f" of {name} {value}" for name, value in conditions.items())
        conditions_text += f" for {stem}" if stem else ""
        flags = "".join(f" --{name} {shlex.quote(value)}" for name, value in conditions.items())
        raise DataError(f"no {what.noun}{conditions_text} in {self.shown}", f"run {what.made_by}{flags} first")

    @contextmanager
    def lock(self, what: str) -> Iterator[None]:
        """Keep other processes from writing here while ``what`` (as in ``gptfl collect``) does.

        The system releases it when the process ends, however it ends; the same thread may lock again. A block that
        ends by an exception before anything is written leaves nothing behind. Raises ``ResourceError`` if another
        holds it, or the folder can't be written to.
        """
        held: set[Path] = _HELD.__dict__.setdefault("roots", set())
        root = self.root.absolute()
        if root in held:
            yield
            return
        with contextlib.ExitStack() as left:
            try:
                left.enter_context(made(root))
                new = not (root / _LOCK).exists()
            except OSError as error:
                raise cannot_write(self.root, error) from error
            lock = self._acquire(what, new)
            held.add(root)
            try:
                for folder in (root, *sorted(path for path in root.iterdir() if path.is_dir())):
                    remove_leftovers(folder, former=True)
                yield
            except BaseException:
                # While it is held, so that nobody else has it.
                if new:
                    with contextlib.suppress(OSError):
                        (root / _LOCK).unlink()
                raise
            finally:
                held.discard(root)
                with contextlib.suppress(OSError):
                    (root / _OWNER).unlink()
                lock.release()

    def _acquire(self, what: str, new: bool) -> "BaseFileLock":
        """The lock, held; ``new`` says that its file wasn't there."""
        import filelock  # takes long to load, and what only reads locks nothing

        owner = self.root / _OWNER
        lock: BaseFileLock | None = None
        wait = "wait for it, or use another --workspace"
        try:
            lock = filelock.FileLock(self.root / _LOCK, timeout=0)
            if not keeps_locks(self.root):
                # The file's mere presence then says that it is held.
                lock = filelock.SoftFileLock(self.root / _SOFT, timeout=0)
                wait += f"; if nothing writes there, delete {self.root / _SOFT}"
            lock.acquire()
            owner.write_text(f"{os.getpid()} {what}", encoding="utf-8")
        except filelock.Timeout as error:
            raise ResourceError(f"{_describe(owner)} is writing to {self.shown}", wait) from error
        except OSError as error:
            if lock is not None:
                if lock.is_locked:  # while it is held, so that nobody else has it
                    for name in (_OWNER, _LOCK) if new else (_OWNER,):
                        with contextlib.suppress(OSError):
                            (self.root / name).unlink()
                lock.release()
            raise cannot_write(self.root, error) from error
        if isinstance(lock, filelock.SoftFileLock):
            warnings.warn(
                f"the file system of {self.shown} keeps no locks: {_SOFT} there says that it is in use, and stays "
                "where the command is killed",
                GptflWarning,
                stacklevel=4,
            )
        return lock


def runs_folder(recording: Path) -> Path:
    """Where the runs beside a recording lie; where it is a link, beside what it leads to."""
    place = real_path(recording) if recording.is_symlink() else recording
    # Not with_name, for a folder such as "." or "/" may be named by mistake, and has no name.
    return place.parent / f"{place.name}.runs"


REFERENCE = "reference.json"
"""The file, written last, that says which reference run a folder keeps."""


def reference_folder(recording: Path) -> Path:
    """Where the reference run of a recording is kept."""
    return recording.with_name(f"{recording.name}.reference")


def stem_for(task: str, model: str) -> str:
    """The stem of a recording's files: task and model, made safe for file names."""
    return f"{safe_name(task)}-{safe_name(Path(model).name)}"


def stem_of(path: Path) -> str:
    """The stem of a file of a workspace, from its name."""
    pieces = path.name.removesuffix(".h5").split(".")
    return ".".join(pieces[: len(pieces) - 1 - len(_PARTS.get(pieces[-1], ()))]) or path.stem


def _fits(path: Path, kind: str, stem: str | None, conditions: dict[str, str]) -> bool:
    pieces = path.name.removesuffix(f".{kind}.h5").split(".")
    names = _PARTS[kind]
    if len(pieces) <= len(names) or (stem is not None and stem_of(path) != stem):
        return False
    parts = dict(zip(names, pieces[len(pieces) - len(names) :], strict=True))
    for name, value in conditions.items():
        if name not in parts:
            raise TypeError(f"a {kind} file has no {name}")
        keyed = re.fullmatch(rf"{re.escape(_part(value))}(-[0-9a-f]{{{_KEY}}})?", parts[name])
        if parts[name] != _part(value) and not (keyed and name == "metric" and kind in ("simulator", "predictions")):
            return False
    return True


def _made(path: Path) -> int:
    """When a file was made, or the last of the runs that lie beside a recording, in nanoseconds."""
    made = path.stat().st_mtime_ns
    with contextlib.suppress(OSError):
        made = max(made, runs_folder(path).stat().st_mtime_ns)
    return made


def _describe(owner: Path) -> str:
    try:
        with owner.open(encoding="utf-8", errors="replace") as file:
            process, _, what = file.read(_OWNER_SIZE).partition(" ")
    except OSError:
        return "another process"
    return f"another {what} (process {process})" if what else "another process"


def safe_name(name: str) -> str:
    """The nearest name that may begin a file's name, or be a part of it, on every system."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80] or "unnamed"


def _part(name: str) -> str:
    """A name that may stand between the dots of a file name."""
    return safe_name(name).replace(".", "-")
