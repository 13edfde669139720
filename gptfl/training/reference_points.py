"""What sketches of further rows take of a reference run: its weights and second moments at the points, as safetensors.

They lie in a folder beside the recording. ``reference.json``, which is written last, says what run they are of.
"""

import json
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gptfl.core import Dynamics
from gptfl.core.recording_settings import ADAMW, PER_TOKEN
from gptfl.core.texts import JsonError, parse_json
from gptfl.errors import DataError
from gptfl.store.durable import cannot_write
from gptfl.store.jsonlines import read_plain
from gptfl.store.outputs import written_whole
from gptfl.store.workspace import REFERENCE
from gptfl.training.reference_run import Followed, Moment, denominator_of, step_scales

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from gptfl.training.trainer import RecordingTrainer

VERSION = 2
READABLE = (1, VERSION)
"""The first version doesn't say by which recipe a run was trained."""
MAX_ABOUT = 2**20
REMEDY = "make it again: the command that recorded it and --keep-reference, once the folder is deleted"
WEIGHT, SECOND, STEPS = "weight/", "second/", "steps"


@dataclass(frozen=True, slots=True)
class ReferenceAbout:
    """What run is kept: the recording's ``examples``, the ``weights`` it began with, its ``seed`` and ``steps``, the points.

    For each point ``shares`` is the part of an example's gradient in its batch's, None where its own isn't counted in what
    divides it, and ``clipped`` by what gradients are shortened around it. ``tokens`` is the mean number of the pool's where
    an example counts by its tokens, else None. ``recording`` is what all calls that make the recording share
    (``RecordingSettings.identity``), its recipe with it; None in files of the first version.
    """

    examples: str
    weights: str
    seed: int
    steps: tuple[int, ...]
    own_counted: bool
    shares: tuple[float | None, ...]
    clipped: tuple[float, ...]
    tokens: float | None
    recording: str | None = None
    version: int = VERSION


def kept_bytes(trainer: "RecordingTrainer", points: Sequence[int]) -> int:
    """What keeping a reference run takes on disk: weights and, of AdamW, second moments at all points but the start."""
    each = sum(weight.numel() * weight.element_size() for weight in trainer.network.trainable)
    times: int = 2 if trainer.recipe.optimiser == ADAMW else 1
    return times * int(each) * sum(step > 0 for step in points)


class ReferenceKeeper:
    """Keeps a reference run at its points as it is followed; call it at each of them, and ``finish`` at the end."""

    def __init__(self, folder: Path, trainer: "RecordingTrainer") -> None:
        self.folder, self.trainer = folder, trainer
        self.moments: list[tuple[int, float | None, bool]] = []

    def __call__(self, moment: Moment) -> None:
        """Write the weights at a point, but for the start's, which the model has. Raises ``ResourceError``."""
        from safetensors.torch import save_file

        self.moments.append((moment.step, moment.share, moment.own_counted))
        if moment.step == 0 or moment.optimiser is None:
            return
        network, state = self.trainer.network, moment.optimiser.state
        tensors: dict[str, Tensor] = {}
        steps = []
        for name, weight in zip(network.names, network.trainable, strict=True):
            tensors[WEIGHT + name] = weight.detach().cpu().contiguous().clone()
            own = state.get(weight) or {}
            if "exp_avg_sq" in own:
                tensors[SECOND + name] = own["exp_avg_sq"].detach().cpu().contiguous().clone()
            steps.append(float(own["step"]) if "step" in own else 0.0)
        tensors[STEPS] = torch.tensor(steps, dtype=torch.float64)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        with written_whole(_file(self.folder, moment.step)) as part:
            save_file(tensors, str(part))

    def finish(self, run: Followed, examples: str, seed: int, recording: str) -> None:
        """Say what was kept.

        Args:
            run: what the reference run was like.
            examples: the recording's fingerprint of them.
            seed: of the run.
            recording: the recording's identity.

        Raises ``ResourceError`` where it can't be written.
        """
        steps = [step for step, _, _ in self.moments]
        scales = step_scales(np.ones(1, dtype=np.int64), False, run.clipped, steps)
        tokens = [len(row.tokens) for row in self.trainer.rows]
        about = ReferenceAbout(
            examples=examples,
            weights=self.trainer.network.loaded.weights_hash,
            seed=seed,
            steps=tuple(steps),
            own_counted=any(own for _, _, own in self.moments),
            shares=tuple(share for _, share, _ in self.moments),
            clipped=(1.0,) * len(steps) if scales is None else tuple(scales[:, 0].tolist()),
            tokens=float(np.mean(tokens)) if self.trainer.recipe.loss_mean == PER_TOKEN else None,
            recording=recording,
        )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        with written_whole(self.folder / REFERENCE) as part:
            part.write_text(json.dumps(asdict(about), indent=1) + "\n", encoding="utf-8")


def is_of_recording(about: ReferenceAbout, dynamics: Dynamics) -> bool:
    """Whether it is a run of this recording's examples, by its recipe, as far as the file says it."""
    settings = dynamics.settings
    same = about.examples == dynamics.examples and settings.weights in (None, about.weights)
    return same and about.recording in (None, settings.identity(dynamics.examples))


def read_about(folder: Path) -> ReferenceAbout | None:
    """What run a folder keeps; None where it keeps none, or not all of it. Raises ``DataError`` for one that is damaged."""
    path = folder / REFERENCE
    if not path.is_file():
        return None
    try:
        found = parse_json(read_plain(path, MAX_ABOUT).decode("utf-8"))
        return _about(found)
    except (JsonError, UnicodeDecodeError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{path} is damaged ({str(error).splitlines()[0] if str(error) else 'no object'})", REMEDY
        ) from error


def _about(found: Any) -> ReferenceAbout:
    """Raises ``ValueError``, ``TypeError`` or ``KeyError`` for what is none."""
    if not isinstance(found, dict) or found["version"] not in READABLE:
        raise ValueError("it is of another version")
    steps, shares, clipped = (found[name] for name in ("steps", "shares", "clipped"))
    numbers = [one for one in (*clipped, *shares, found["tokens"]) if one is not None]
    if not len(steps) == len(shares) == len(clipped) > 0 or any(type(one) is not int or one < 0 for one in steps):
        raise ValueError("its points are none")
    if not all(isinstance(one, int | float) and np.isfinite(one) and one > 0 for one in numbers):
        raise ValueError("a number of it is none")
    if type(found["seed"]) is not int or not all(isinstance(found[name], str) for name in ("examples", "weights")):
        raise ValueError("it names no run")
    if found["version"] == VERSION and not isinstance(found["recording"], str):
        raise ValueError("it names no recording")
    known = {**found, "steps": tuple(steps), "shares": tuple(shares), "clipped": tuple(clipped)}
    return ReferenceAbout(**known)


def moment_at(folder: Path, about: ReferenceAbout, place: int, trainer: "RecordingTrainer") -> Moment:
    """A point of a kept reference run, whose weights are in the trainer's network then.

    Args:
        folder: that it is kept in.
        about: what it says of itself.
        place: which of the points.
        trainer: by the recording's recipe.

    Raises ``DataError`` where it is missing, damaged, or of other weights than are trained.
    """
    step, network = about.steps[place], trainer.network
    network.restore()
    optimiser, share = trainer.optimiser(), about.shares[place]
    if step == 0:
        return Moment(0, denominator_of(network, optimiser, share), 0.0, about.own_counted)
    with _opened(_file(folder, step)) as file:
        counts = file.get_tensor(STEPS)
        if counts.shape != (len(network.trainable),):
            raise KeyError(f"{STEPS} of {len(network.trainable)} weights")
        held = set(file.keys())
        for number, (name, weight) in enumerate(zip(network.names, network.trainable, strict=True)):
            with torch.no_grad():
                weight.copy_(_tensor(file, WEIGHT + name, weight))
            if SECOND + name in held:
                second = _tensor(file, SECOND + name, weight)
                optimiser.state[weight] = {"exp_avg_sq": second, "step": counts[number].clone()}
    return Moment(step, denominator_of(network, optimiser, share), 0.0, about.own_counted)


def _tensor(file: Any, name: str, like: "Tensor") -> "Tensor":
    """One tensor, on the device of another of its shape. Raises ``KeyError`` for what isn't such a one."""
    if list(file.get_slice(name).get_shape()) != list(like.shape):
        raise KeyError(f"{name} of shape {tuple(like.shape)}")
    found: Tensor = file.get_tensor(name).to(like.device)
    if not found.is_floating_point() or not bool(torch.isfinite(found).all()):
        raise KeyError(f"{name} of finite numbers")
    return found


@contextmanager
def _opened(path: Path) -> "Iterator[Any]":
    """An open file of safetensors; what it lacks or is broken of it is told in one line."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            yield file
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing", REMEDY) from error
    except KeyError as error:
        raise DataError(f"{path} has no {error.args[0]}", REMEDY) from error
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} is damaged ({' '.join(str(error).split())[:160]})", REMEDY) from error


def _file(folder: Path, step: int) -> Path:
    return folder / f"step-{step:06d}.safetensors"
