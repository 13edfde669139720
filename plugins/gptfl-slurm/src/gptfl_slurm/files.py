"""The files by which a job and whoever submitted it speak: in one folder that both see, each whole under its name."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from gptfl.plugins import Outcome, Unit, Work


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of one work: ``work.json``, and of each unit what it is, its steps so far and its outcome.

    A unit's name has its number and a hash of what it is; the folder's that of the work and of gptfl's version. So what
    lies there under a name is what is asked for, whoever left it.
    """

    path: Path

    @classmethod
    def of(cls, root: Path, work: Work) -> "Folder":
        """The folder of a work, made below ``root``, which is made if it isn't there."""
        text = json.dumps(work.to_json(), sort_keys=True)
        digest = hashlib.sha256(f"{version('gptfl')} {text}".encode()).hexdigest()[:16]
        made = cls(root / digest)
        made.path.mkdir(parents=True, exist_ok=True)
        write_whole(made.path / "work.json", text.encode())
        return made

    def work(self) -> Work:
        """The work."""
        return Work.of_json(json.loads((self.path / "work.json").read_bytes()))

    def add(self, units: Iterable[Unit]) -> dict[str, int]:
        """Put units there; the index of each by its name."""
        names = {}
        for unit in units:
            packed = unit.to_bytes()
            name = f"{unit.index:06d}-{hashlib.sha256(packed).hexdigest()[:16]}"
            write_whole(self.path / f"{name}.unit", packed)
            names[name] = unit.index
        return names

    def unit(self, name: str) -> Unit | None:
        """The unit of that name; None where it is no longer asked for."""
        packed = _read(self.path / f"{name}.unit")
        return None if packed is None else Unit.of_bytes(packed)

    def outcome(self, name: str) -> Outcome | None:
        """What the unit of that name came to, None as long as it isn't there."""
        packed = _read(self.path / f"{name}.outcome")
        return None if packed is None else Outcome.of_bytes(packed)

    def keep(self, name: str, outcome: Outcome) -> None:
        """Put there what a unit came to."""
        write_whole(self.path / f"{name}.outcome", outcome.to_bytes())

    def steps(self, name: str) -> tuple[int, int] | None:
        """The steps done of a unit and how many there are, as far as was said."""
        said = _read(self.path / f"{name}.steps")
        if said is None:
            return None
        done, total = said.split()
        return int(done), int(total)

    def say(self, name: str, done: int, total: int) -> None:
        """Say how many steps of a unit are done."""
        write_whole(self.path / f"{name}.steps", f"{done} {total}".encode())

    def forget(self, name: str) -> None:
        """Remove all there is of a unit."""
        for kind in ("unit", "steps", "outcome"):
            (self.path / f"{name}.{kind}").unlink(missing_ok=True)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def write_whole(path: Path, data: bytes) -> None:
    """Write a file aside and give it its name when it is whole."""
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
