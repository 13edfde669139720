"""The command line that made a file, as far as the file tells."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gptfl.core import Dynamics, RecordingSettings, user_path
from gptfl.designs.draws import LEAVE_SMALL, NEXT_FROM, REPEATS_FROM
from gptfl.encoders.gradients import Gradients
from gptfl.errors import DataError, GptflError
from gptfl.options.base import make
from gptfl.options.files import typed
from gptfl.options.interchange import ImportOptions
from gptfl.options.recording import CollectOptions
from gptfl.options.simulation import FeaturizeOptions, FitOptions
from gptfl.plugins.interfaces import Encoder
from gptfl.plugins.optional import UsesRecording
from gptfl.plugins.registry import Registry
from gptfl.recording.design import Design, choose_design, choose_steps
from gptfl.recording.gradient_request import POINTS
from gptfl.recording.plan import PAPER
from gptfl.recording.recipe import MOMENTUM
from gptfl.recording.recording import choose_metric
from gptfl.recording.sketch_request import DIMENSIONS
from gptfl.recording.source import POOL, TEST
from gptfl.store import kinds
from gptfl.store.features import read_features
from gptfl.store.files import read_header
from gptfl.store.recordings import read_dynamics
from gptfl.store.simulators import read_simulator
from gptfl.store.workspace import REFERENCE, Workspace, reference_folder, stem_for, stem_of
from gptfl.tasks.mixture import open_task
from gptfl.tasks.own_data import LORA_RATE, SHAPE, OwnData
from gptfl.tasks.shapes import CHATS
from gptfl.training.lora import Lora, parse_lora
from gptfl.training.names import resolve_model

KEPT: tuple[str, ...] = ("data", "flip_labels", "reserve_pool", "by", "record_every", "generate_every")
KEPT += ("generate_tokens", "decode", "batch_size")
KEPT += ("schedule", "max_length", "train_layers", "accumulate", "processes", "shard", "seed")
KEPT += ("warmup", "clip_norm", "optimiser", "weight_decay", "decay", "loss_mean", "dropout", "packing", "quantize")
KEPT += ("texts", "train", "eval", "eval_share", "fields", "loss_on", "end_token")
KEPT += ("dataset", "dataset_config", "split", "eval_split", "revision", "group_by_length")
"""Options that a recording keeps under their own names."""
COLLECTED = "how many runs were asked for (--runs are the recorded ones), --checkpoints, --executor and the file of --chat-template"
IMPORTED = "the whole path of the folder, --train-texts and --test-texts"


@dataclass(frozen=True, slots=True)
class MadeBy:
    """The words of a command line after ``gptfl``, and what the file doesn't tell of it, or nothing."""

    words: tuple[str, ...]
    unknown: str = ""

    def __str__(self) -> str:
        return shlex.join(("gptfl", *self.words))


def command_of(path: str | Path, registry: Registry) -> MadeBy:
    """The command that made a recording, features or a simulator: only the options that aren't at their defaults.

    Raises ``DataError`` for a file that is none of these or is damaged, and for a recording that doesn't say how it was made.
    """
    path = user_path(path)
    kind = read_header(path).kind
    if kind == kinds.DYNAMICS:
        dynamics = read_dynamics(path)
        if dynamics.settings.get("made_by") == "gptfl attribute":
            raise DataError(f"{path} was made from checkpoints that it doesn't name", "run gptfl attribute again")
        if dynamics.settings.own_run:
            raise DataError(f"{path} was recorded while you trained: no command makes it", "run your training again")
        return _imported(dynamics, path) if dynamics.settings.imported else _collected(dynamics, path, registry)
    if kind == kinds.FEATURES:
        return _featurized(path, registry)
    if kind == kinds.SIMULATOR:
        return _fitted(path, registry)
    noun = kinds.KINDS[kind].noun
    raise DataError(f"{path} is a {noun}, which doesn't keep its command", "name a recording, features or a simulator")


def _collected(dynamics: Dynamics, path: Path, registry: Registry) -> MadeBy:
    settings = dynamics.settings
    needed = ("task", "model", "learning_rate", "subset_size", "batch_size", "steps", "seed", "record_every")
    lacking = [name for name in needed if settings.get(name) is None]
    if lacking:
        raise DataError(f"{path} doesn't say its {lacking[0]}", "use a recording that gptfl collect made")
    given = {name: value for name in KEPT if (value := getattr(settings, name)) is not None}
    chosen = sum(run.index >= NEXT_FROM for run in dynamics.runs)
    repeats = sum(run.index >= REPEATS_FROM for run in dynamics.runs) - chosen
    model, stem = _model(settings)
    mixed = "," in settings.task
    given |= {
        "model": model,
        "task": None if settings.shape is not None else settings.task,
        "runs": _unless(len(dynamics.runs) - repeats - chosen, PAPER.runs) or None,
        "repeats": repeats,
        "design": _unless(settings.design, PAPER.design),
        "pool": _unless(len(dynamics.pool), POOL),
        "test": _unless(len(dynamics.test), TEST),
        "end_token": _unless(settings.end_token, True if settings.shape in CHATS else None),
        "metrics": tuple(settings.metrics or dynamics.metrics),
        "instructions": _unless(settings.instructions, mixed),
        "lr": _unless(settings.learning_rate, _usual_rate(settings, registry)),
        "lora": _lora(settings.lora),
        **_recipe(settings),
        **_machine(settings),
        **_sizes(settings, len(dynamics.pool)),
        **_along(dynamics, settings.steps, (reference_folder(path) / REFERENCE).is_file()),
        **_place(path, stem_for(settings.task, stem)),
    }
    added = f"the runs that were added by --next ({len(settings.chosen_runs)}), " if settings.chosen_runs else ""
    return MadeBy(("collect", *typed(make(CollectOptions, **given))), f"{added}{COLLECTED}")


def _model(settings: RecordingSettings) -> tuple[str, str]:
    """What to call the model, by its folder where it has one, and the short name that files are called by."""
    source, model = settings.source, settings.model
    if source is not None and Path(source).is_absolute():
        return source, Path(source).name
    try:
        return model, resolve_model(model).stem
    except GptflError:  # no longer there
        return model, Path(model).name


def _usual_rate(settings: Mapping[str, Any], registry: Registry) -> float | None:
    """The learning rate that is the task's own, where the task can be opened."""
    if SHAPE in settings:
        return OwnData.learning_rate if settings.get("lora") is None else LORA_RATE
    data = settings.get("data")
    try:
        return open_task(registry, settings["task"], None if data is None else user_path(data)).learning_rate
    except GptflError:  # its data or its plugin is no longer there
        return None


def _lora(text: str | None) -> str | None:
    """What of adapters isn't as ``--lora`` has it by default; the rank always says that there are some."""
    if text is None:
        return None
    try:
        lora = parse_lora(text)
    except GptflError:  # of another version
        return text
    usual = Lora(lora.r).text.split(",")
    return ",".join(one for place, one in enumerate(lora.text.split(",")) if place == 0 or one not in usual)


def _recipe(settings: RecordingSettings) -> dict[str, Any]:
    """What a recording keeps of an optimiser under other names than the options'."""
    found: dict[str, Any] = {"momentum": _unless(settings.momentum, MOMENTUM.get(settings.optimiser))}
    if settings.betas:
        found["beta1"], found["beta2"] = settings.betas
    return {**found, "eps": settings.epsilon}


def _machine(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Device and precision where ``auto`` wouldn't come to the same here."""
    from gptfl.training.models import choose_device
    from gptfl.training.precision import resolve_precision

    device, precision = settings.get("device"), settings.get("precision")
    here = choose_device("auto").type
    usual = resolve_precision("auto", device) if device in (here, "cpu") else None
    return {"device": _unless(device, here), "precision": _unless(precision, usual)}


def _unless(value: Any, usual: Any) -> Any:
    return None if value == usual else value


def _sizes(settings: RecordingSettings, pool: int) -> dict[str, Any]:
    """What the design would otherwise choose itself: the subset's size, that of a group, the steps."""
    found = {name: getattr(settings, name) for name in ("subset_size", "leave_out_size", "steps")}

    def chosen(subset: int | None) -> Design:
        return choose_design(
            settings.design,
            PAPER.runs,
            pool,
            settings.seed,
            subset_size=subset,
            reserve_pool=settings.reserve_pool or 0,
            leave_out_size=None,
            repeats=0,
            by=settings.by,
        )

    try:
        usual = chosen(None)
        own = usual if settings.design == LEAVE_SMALL else chosen(found["subset_size"])
    except GptflError:  # a design that this version doesn't know
        return found
    return {
        "subset_size": _unless(own.subset, usual.subset),
        "leave_out_size": _unless(found["leave_out_size"], own.swapped),
        # How many steps a pass over packed rows has, only the rows tell.
        "steps": _unless(found["steps"], settings.packing or choose_steps(own, None, None, settings.batch_size)),
    }


def _along(dynamics: Dynamics, steps: int, is_kept: bool) -> dict[str, Any]:
    """What was recorded of gradients; ``is_kept`` says that their reference run lies beside the recording."""
    found: dict[str, Any] = {}
    own, products, sketches = dynamics.settings.derivatives, dynamics.gradients, dynamics.sketches
    if own or products is not None:
        found["gradients"] = "own" if products is None else "both" if own else "reference"
    usual = min(POINTS, steps + 1)
    if products is not None:
        found["gradient_points"] = _unless(len(products.steps), usual)
    if sketches is not None:
        found |= {
            "sketches": True,
            "sketch_points": _unless(len(sketches.steps), usual),
            "sketch_dimensions": _unless(sketches.dimensions, DIMENSIONS),
            "sketch_modules": sketches.modules,
            "keep_reference": is_kept or None,
        }
    return found


def _place(path: Path, usual: str) -> dict[str, Any]:
    """The workspace and name that lead to a recording's path."""
    stem = path.name.removesuffix(".dynamics.h5")
    return {"name": _unless(stem, usual), "workspace": _workspace(path)}


def _workspace(path: Path) -> Path | None:
    try:
        same = path.parent.resolve() == Workspace.resolve(None).root.resolve()
    except OSError:
        same = False
    return None if same else path.parent


def _imported(dynamics: Dynamics, path: Path) -> MadeBy:
    settings = dynamics.settings
    folder = settings.source or "DIR"
    given: dict[str, Any] = {"lr": settings.learning_rate}
    if settings.learning_rate is not None:
        given["schedule"] = _unless(settings.schedule or None, "linear")
        given["warmup"] = settings.warmup or None
    made = make(
        ImportOptions,
        layout=settings.others["layout"],
        folder=folder,
        metrics=tuple(settings.metrics or ()),
        sketches=settings.others.get("sketches"),
        **given,
        **_place(path, Path(folder).name),
    )
    return MadeBy(("import", *typed(made)), IMPORTED)


def _featurized(path: Path, registry: Registry) -> MadeBy:
    features = read_features(path)
    dynamics, recording, unknown = _recording(path, features.examples)
    kept = dict(features.identity)
    if not any(len(one.test) for one in features.sets.values()):
        made = make(FeaturizeOptions, encoder=features.encoder)
        return MadeBy(("featurize", *typed(made)), "--new, which names the rows, --dynamics, --model and --output")
    if features.encoder == Gradients.name and "source" in kept:
        came = f"{path} is of the sketches that gptfl import took from {kept['source']}"
        raise DataError(came, "name the recording, whose command it is")
    defaults = {} if recording is None else _defaults_for(features.encoder, recording, registry)
    settings = _settings(
        registry, "encoder", features.encoder, {key: kept[key] for key in kept if defaults.get(key) != kept[key]}
    )
    made = make(FeaturizeOptions, encoder=features.encoder, settings=settings, dynamics=dynamics)
    if features.encoder in registry.names("encoder"):
        untold = [name for name in registry.parameters("encoder", features.encoder) if name not in kept]
        unknown += "".join(f"--set {name}, " for name in untold)
    if features.encoder == Gradients.name and recording is not None and recording.sketches is None:
        unknown += "--model, --recipe and --seed of the sketches, "
    return MadeBy(("featurize", *typed(made)), f"{unknown}--data and --output")


def _defaults_for(name: str, recording: Dynamics, registry: Registry) -> Mapping[str, Any]:
    """What an encoder that reads no texts would settle its settings to for a recording; of others a model tells."""
    if name not in registry.names("encoder"):
        return {}
    try:
        encoder: Encoder = registry.make("encoder", name)
        if encoder.tags.reads_texts or not isinstance(encoder, UsesRecording):
            return {}
        encoder.use_recording(recording)
        made: Encoder = encoder
        return dict(made.identity())
    except GptflError:  # it needs what the recording no longer has
        return {}


def _fitted(path: Path, registry: Registry) -> MadeBy:
    simulator = read_simulator(path)
    info, unseen = simulator.info, simulator.info.get("unseen")
    held_out = unseen if isinstance(unseen, dict) else {}
    dynamics, recording, unknown = _recording(path, simulator.examples)
    metric = simulator.metric.name
    is_usual = metric == "loss" if recording is None else metric == _usual_metric(recording)
    made = make(
        FitOptions,
        estimator=simulator.estimator,
        metrics=() if is_usual else (metric,),
        encoder=info.get("encoder"),
        settings=_settings(registry, "estimator", simulator.estimator, simulator.settings),
        every=info.get("every", 1),
        keep_diverged=bool(info.get("kept_diverged", False)),
        unseen=held_out.get("side"),
        unseen_share=held_out.get("share"),
        seed=info.get("seed", 42),
        dynamics=dynamics,
    )
    return MadeBy(("fit", *typed(made)), f"{unknown}--features and --output")


def _usual_metric(recording: Dynamics) -> str | None:
    try:
        return choose_metric(recording)[0].name
    except GptflError:  # several, and no loss
        return None


def _recording(path: Path, examples: str) -> tuple[Path | None, Dynamics | None, str]:
    """The recording in the same folder that a file is from, and what to say where it isn't there."""
    beside = path.with_name(f"{stem_of(path)}.dynamics.h5")
    try:
        if beside.is_file():
            found = read_dynamics(beside)
            if found.examples == examples:
                return beside, found, ""
    except (OSError, DataError):
        pass
    return None, None, "--dynamics, which isn't beside the file, "


def _settings(registry: Registry, kind: str, name: str, kept: Mapping[str, Any]) -> tuple[str, ...]:
    """The settings of a part that differ from its own defaults; all of them where the part isn't installed."""
    differing = kept
    if name in registry.names(kind):
        usual = {key: one.default for key, one in registry.parameters(kind, name).items()}
        differing = {key: value for key, value in kept.items() if key in usual and usual[key] != value}
    return tuple(
        f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in sorted(differing.items())
    )
