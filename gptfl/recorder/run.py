"""A run that is being recorded."""

import csv
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from gptfl.core import FIT, Curriculum, Run, examples_fingerprint, fingerprint
from gptfl.errors import DataError
from gptfl.recorder.file import Identity
from gptfl.recorder.sketch_files import KeptSketches
from gptfl.store.durable import cannot_write, part_of, put_in_place

VERSION = 1


@dataclass
class RunSoFar:
    """What was recorded of a run until now, and what is planned of it.

    ``planned`` is how many steps it will take, ``members`` the places of the examples that it passes through, and ``plan``
    its step sizes; each None where it isn't known.
    """

    identity: Identity
    seed: int
    planned: int | None
    members: Int[np.ndarray, " member"] | None
    plan: Callable[[int], float] | Sequence[float] | None
    metrics: tuple[str, ...]
    started: float = 0.0
    before: float = 0.0
    """Seconds that it took before it was resumed."""
    places: list[list[int]] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    losses: dict[int, list[float]] = field(default_factory=dict)
    measured: list[int] = field(default_factory=list)
    values: dict[str, list[Float[np.ndarray, " test"]]] = field(default_factory=dict)
    sketches: KeptSketches | None = None
    """What lies in files of the gradient sketches along it."""

    weights: Mapping[str, str] = field(default_factory=dict)
    """The digests of the trained weights when its state was saved."""

    @property
    def step(self) -> int:
        """How many steps were taken."""
        return len(self.places)

    @property
    def evaluations(self) -> int | None:
        """How often it is measured; None where its number of steps isn't known."""
        if self.planned is None:
            return None
        return len({*range(0, self.planned + 1, self.identity.every), self.planned})

    def add(self, places: Int[np.ndarray, " id"], rate: float, losses: list[float] | None) -> None:
        """Keep a step. Raises ``DataError`` for another number of losses than ids."""
        if losses is not None and len(losses) != len(places):
            raise DataError(f"step {self.step + 1} has {len(places)} ids and {len(losses)} losses", "give one each")
        self.places.append(places.tolist())
        self.rates.append(rate)
        if losses is not None:
            self.losses[self.step] = losses

    def keep(self, values: Mapping[str, Float[np.ndarray, " test"]]) -> None:
        """Keep what was measured after the last step."""
        if self.measured and self.measured[-1] == self.step:
            return
        self.measured.append(self.step)
        for name, one in values.items():
            self.values.setdefault(name, []).append(one)

    def cut(self) -> None:
        """Forget the steps after the last measurement."""
        last = self.measured[-1]
        self.places, self.rates = self.places[:last], self.rates[:last]
        self.losses = {step: one for step, one in self.losses.items() if step <= last}

    def batches(self) -> Int[np.ndarray, "step batch"]:
        """The steps' examples, padded with -1."""
        found = np.full((len(self.places), max(map(len, self.places), default=1)), -1, dtype=np.int64)
        for step, places in enumerate(self.places):
            found[step, : len(places)] = places
        return found

    def run(self) -> Run:
        """The run as a recording keeps it; its index is given when it is appended."""
        return Run(
            0,
            self.seed,
            FIT,
            Curriculum(self.batches(), np.array(self.rates, dtype=np.float64)),
            np.array(self.measured, dtype=np.int64),
            {name: np.stack(self.values[name]).astype(np.float32) for name in self.metrics},
            seconds=self.seconds,
        )

    @property
    def seconds(self) -> float:
        """What training and measuring took."""
        return self.before + time.perf_counter() - self.started

    def _mark(self) -> str:
        own = self.identity
        return fingerprint(examples_fingerprint(own.pool, own.test), list(own.metrics), own.every)

    def state(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        more: dict[str, Any] = {} if self.sketches is None else {"sketches": self.sketches.to_json()}
        if self.weights:
            more["weights"] = dict(self.weights)
        return {
            "version": VERSION,
            "recording": self._mark(),
            "model_fingerprint": self.identity.fingerprint,
            "seed": self.seed,
            "seconds": self.seconds,
            "places": [list(one) for one in self.places],
            "rates": list(self.rates),
            "losses": {str(step): list(one) for step, one in self.losses.items()},
            "measured": list(self.measured),
            "values": {name: [one.astype(float).tolist() for one in found] for name, found in self.values.items()},
            **more,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state`` gave. Raises ``DataError`` where that is of another recording, or no such thing."""
        if not isinstance(state, Mapping) or state.get("version") != VERSION:
            raise DataError("the state to resume from is none of a Recorder's", "give what recorder.state_dict() gave")
        if state.get("recording") != self._mark():
            raise DataError(
                "the state to resume from is of a run with other examples, metrics or another every",
                "give the Recorder what the run began with, or begin the run anew",
            )
        try:
            self._take(state)
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DataError("the state to resume from is damaged", "begin the run anew") from error

    def _take(self, state: Mapping[str, Any]) -> None:
        """Raises one of many errors where a state isn't whole."""
        self.seed, self.before = int(state["seed"]), float(state["seconds"])
        self.places = [[int(place) for place in one] for one in state["places"]]
        self.rates = [float(one) for one in state["rates"]]
        self.losses = {int(step): [float(loss) for loss in one] for step, one in state["losses"].items()}
        self.measured = [int(step) for step in state["measured"]]
        self.values = {
            name: [np.array(one, dtype=np.float32) for one in found] for name, found in state["values"].items()
        }
        if state.get("sketches") is not None:
            self.sketches = KeptSketches.from_json(state["sketches"], len(self.places))
        self.weights = {str(name): str(digest) for name, digest in (state.get("weights") or {}).items()}
        pool, shape = len(self.identity.pool), (len(self.identity.test),)
        whole = (
            len(self.rates) == len(self.places)
            and all(one and min(one) >= 0 and max(one) < pool for one in self.places)
            and self.measured == sorted(set(self.measured)) != []
            and all(0 <= step <= len(self.places) for step in self.measured)
            and set(self.values) == set(self.metrics)
            and all(len(found) == len(self.measured) for found in self.values.values())
            and all(one.shape == shape for found in self.values.values() for one in found)
            and all(0 < step <= len(self.places) for step in self.losses)
            and all(len(one) == len(self.places[step - 1]) for step, one in self.losses.items())
        )
        if not whole:
            raise ValueError("its parts don't fit")

    def write_losses(self, path: Path, ids: Sequence[str]) -> None:
        """The training rows' own losses as a table: step, id, loss. Raises ``ResourceError`` if it can't be written."""
        try:
            with part_of(path) as part:
                with part.open("w", encoding="utf-8", newline="") as file:
                    table = csv.writer(file)
                    table.writerow(["step", "id", "loss"])
                    for step, losses in sorted(self.losses.items()):
                        pairs = zip(self.places[step - 1], losses, strict=True)
                        table.writerows([step, ids[place], repr(loss)] for place, loss in pairs)
                put_in_place(part, path)
        except OSError as error:
            raise cannot_write(path, error) from error
