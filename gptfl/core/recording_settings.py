"""What a recording keeps of how it was made: each setting once, with all that is known of it."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from gptfl.core.values import fingerprint

IMPORTED = "imported"
"""The task of an imported recording."""
OWN_RUN = "own-run"
"""The task of a recording of somebody's own training (``gptfl.Recorder``, ``gptfl.GptflCallback``)."""
UNKNOWN_RATE = 1.0
"""The learning rate of every step of a recording whose own are not known: only their proportions matter to a fit."""
DECODINGS = ("greedy", "nucleus")
OPTIMISERS = (ADAMW, ADAM_8BIT, SGD, ADAFACTOR, MUON) = ("adamw", "adamw-8bit", "sgd", "adafactor", "muon")
DECAYS = (DECAY_ALL, DECAY_WEIGHTS) = ("all", "weights")
"""Which weights decay: all of them, or all but biases and those of norms, as transformers' Trainer has it."""
MEANS = (PER_EXAMPLE, PER_TOKEN) = ("examples", "tokens")
"""What a step's loss is the mean over."""
QUANTISED = (BITS_4, BITS_8) = ("4bit", "8bit")
"""How weights that aren't trained may be kept."""
LARGEST = 2**31
"""No count is larger."""
LARGEST_RATE = 1e9
"""No learning rate is larger. The option has the same bound (``options.base``), which loads nothing of this package."""

Check = Callable[[Any], bool]


def _count(least: int) -> Check:
    return lambda value: type(value) is int and least <= value <= LARGEST


def _real(low: float, high: float) -> Check:
    # Compared, not converted: a whole number may be too large to be a float.
    return lambda value: type(value) in (int, float) and low <= value <= high


def _is_word(value: Any) -> bool:
    return isinstance(value, str)


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool)


def _is_seed(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _are_words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _are_subsets(value: Any) -> bool:
    return isinstance(value, list) and all(_are_words(one) for one in value)


def _are_betas(value: Any) -> bool:
    return (
        isinstance(value, list) and len(value) == 2 and all(_real(0.0, math.nextafter(1.0, 0.0))(one) for one in value)
    )


def _anything(value: Any) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is known of a setting beside its name, which is its key in the file.

    ``check`` is what its value has to pass, and ``null`` whether null does, too. ``before`` is the value that
    recordings without the setting were made with. ``identity`` says whether it tells one recording from another;
    ``left_out`` that it does so only where its value isn't ``before``. One of text ``generation`` is kept only where a
    metric reads generated text. ``flag`` is the option that makes it, ``on`` and ``off`` how a switch is typed where
    that isn't the flag, and the flag after "no". One of a ``later`` version is in files only where it isn't ``before``.
    """

    check: Check
    null: bool = True
    before: Any = None
    identity: bool = True
    left_out: bool = False
    generation: bool = False
    later: bool = False
    flag: str = ""
    on: str = ""
    off: str = ""

    def fits(self, value: Any) -> bool:
        """Whether the setting may have this value."""
        return (value is None and self.null) or self.check(value)

    def kept(self, value: Any, generates: bool) -> bool:
        """Whether a file has the setting with this value, of a recording that ``generates`` text or doesn't."""
        return (generates or not self.generation) and not (self.later and value == self.before)

    def typed(self, value: Any) -> str:
        """The value as the option that makes it is typed; each number of a pair has a flag of its own."""
        if "/" in self.flag and isinstance(value, list | tuple):
            return " ".join(f"{flag} {one}" for flag, one in zip(self.flag.split("/"), value, strict=False))
        if self.on:
            return self.on if value else self.off
        if value is None or value is False:
            return f"no {self.flag}"
        if value is True:
            return self.flag
        return " ".join(f"{self.flag} {one}" for one in (value if isinstance(value, list) else [value]))


def _setting(before: Any, check: Check, null: bool = True, **known: Any) -> Any:
    return field(default=before, metadata={"setting": Setting(check=check, null=null, before=before, **known)})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordingSettings(Mapping[str, Any]):
    """How a recording was made: settings by attribute, and as a mapping the very JSON of its file.

    An attribute that the file lacks has the value of the recordings made before there was the setting. Where every
    version wrote it, that is 0, "" or None: such a file is not of ``gptfl collect``. The mapping holds what the file
    holds and nothing else, in its order; keys that this version doesn't know are kept. It is made by ``of``.
    """

    task: str = _setting("", _is_word, False)
    data: str | None = _setting(None, _is_word, identity=False)
    model: str = _setting("", _is_word, False)
    source: str | None = _setting(None, _is_word, identity=False)
    """Where the model lay; of an imported recording, the folder it came from."""
    pool: int = _setting(0, _count(1), False)
    test: int = _setting(0, _count(1), False)
    subset_size: int = _setting(0, _count(1), False)
    design: str = _setting("uniform", _is_word, False, left_out=True)
    reserve_pool: int | None = _setting(0, _count(0), left_out=True)
    leave_out_size: int | None = _setting(None, _count(0), left_out=True)
    by: str | None = _setting(None, _is_word, later=True)
    """What the groups are that runs differ by, in the design of groups: a field of the rows, or ``clusters:K``."""
    batch_size: int = _setting(0, _count(1), False)
    steps: int = _setting(0, _count(1), False)
    seed: int = _setting(0, _is_seed, False)
    device: str | None = _setting(None, _is_word)
    metrics: Sequence[str] | None = _setting(None, _are_words, flag="--metric")
    texts: bool = _setting(True, _anything, on="--texts", off="--no-texts")
    instructions: bool | None = _setting(False, _is_switch, on="--instructions", off="--no-instructions")
    flip_labels: float | None = _setting(None, _real(0.0, 1.0))
    shape: str | None = _setting(None, _is_word)
    """What rows of one's own look like (``tasks.shapes``); None for a task's."""
    train: str | None = _setting(None, _is_word, identity=False)
    eval: str | None = _setting(None, _is_word, identity=False)
    eval_share: float | None = _setting(None, _real(0.0, 1.0), identity=False)
    fields: str | None = _setting(None, _is_word, identity=False)
    loss_on: str | None = _setting(None, _is_word, identity=False)
    dataset: str | None = _setting(None, _is_word, identity=False)
    dataset_config: str | None = _setting(None, _is_word, identity=False)
    split: str | None = _setting(None, _is_word, identity=False)
    eval_split: str | None = _setting(None, _is_word, identity=False)
    revision: str | None = _setting(None, _is_word, identity=False)
    end_token: bool | None = _setting(None, _is_switch, later=True)
    chat_template: str | None = _setting(
        None, _is_word, later=True, on="a chat template of its own", off="no --chat-template"
    )
    data_source: object = _setting(None, _anything, identity=False)
    licence: object = _setting(None, _anything, identity=False)
    learning_rate: float | None = _setting(None, _real(0.0, LARGEST_RATE), flag="--lr")
    schedule: str = _setting("", _is_word, False)
    weight_decay: float | None = _setting(None, _real(0.0, LARGEST_RATE))
    betas: Sequence[float] | None = _setting(None, _are_betas, flag="--beta1/--beta2")
    epsilon: float | None = _setting(None, _real(0.0, LARGEST_RATE), flag="--eps")
    max_length: int | None = _setting(None, _count(1))
    precision: str | None = _setting(None, _is_word)
    train_layers: int | None = _setting(None, _count(0))
    record_every: int = _setting(0, _count(1), False)
    evaluation_tokens: int | None = _setting(None, _count(0))
    generate_tokens: int | None = _setting(None, _count(1), generation=True)
    generate_every: int | None = _setting(None, _count(1), generation=True)
    decode: str | None = _setting("greedy", _is_word, generation=True)
    lora: str | None = _setting(None, _is_word)
    accumulate: int | None = _setting(1, _count(1))
    processes: int | None = _setting(1, _count(1))
    shard: bool | None = _setting(False, _is_switch)
    derivatives: bool | None = _setting(False, _is_switch, on="--gradients own", off="no --gradients own")
    warmup: float | None = _setting(0, _real(0.0, LARGEST), later=True)
    clip_norm: float | None = _setting(None, _real(0.0, LARGEST_RATE), later=True)
    optimiser: str = _setting(ADAMW, _is_word, False, later=True)
    momentum: float | None = _setting(None, _real(0.0, 1.0), later=True)
    decay: str = _setting(DECAY_ALL, _is_word, False, later=True)
    loss_mean: str = _setting(PER_EXAMPLE, _is_word, False, later=True)
    dropout: bool = _setting(True, _is_switch, False, later=True, on="--dropout", off="--no-dropout")
    packing: str | None = _setting(None, _is_word, later=True)
    group_by_length: bool = _setting(False, _is_switch, False, later=True)
    quantize: str | None = _setting(None, _is_word, later=True)
    chosen_runs: Sequence[Sequence[str]] | None = _setting(None, _are_subsets, identity=False, later=True)
    """The ids of the runs that were chosen by what those before left open (``--next``), whether they are recorded or not."""
    weights: str | None = _setting(None, _is_word, identity=False)
    """The hash of the weights that every run started from."""
    tokenization: str | None = _setting(None, _is_word, identity=False)
    """How prompts and targets became tokens, where that isn't each by itself (``recording.tokens``)."""
    run_names: Sequence[str] | None = _setting(None, _are_words)
    """What the runs of an imported recording were called."""

    others: Mapping[str, Any] = field(default_factory=dict)
    """What the file holds besides: imported recordings and later versions have other settings."""
    order: tuple[str, ...] = ()
    """The keys of the file."""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "RecordingSettings":
        """The settings that a file's JSON holds, whatever their types (see ``wrong_setting``)."""
        if isinstance(settings, cls):
            return settings
        known = {key: value for key, value in settings.items() if key in SETTINGS}
        others = {key: value for key, value in settings.items() if key not in SETTINGS}
        return cls(**known, others=others, order=tuple(settings))

    def __getitem__(self, key: str) -> Any:
        if key not in self.order:
            raise KeyError(key)
        return getattr(self, key) if key in SETTINGS else self.others[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.order)

    def __len__(self) -> int:
        return len(self.order)

    def having(self, **changed: Any) -> "RecordingSettings":
        """The same with other values of some settings; new ones come last."""
        return RecordingSettings.of({**self, **changed})

    @property
    def imported(self) -> bool:
        """Whether ``gptfl import`` made the recording."""
        return self.task == IMPORTED and "layout" in self.others

    @property
    def own_run(self) -> bool:
        """Whether somebody's own training was recorded, whose recipe gptfl can't carry out."""
        return self.task == OWN_RUN and "made_by" in self.others

    @property
    def elsewhere(self) -> bool:
        """Whether its runs were trained by others than gptfl, so that none can be trained by its recipe."""
        return self.imported or self.own_run

    @property
    def lacks_rates(self) -> bool:
        """Whether the learning rates that the recording holds stand for unknown ones."""
        return self.imported and "learning_rate" not in self

    def identity(self, examples: str) -> str:
        """Fingerprint of what all the calls that make one recording share; ``examples`` is that of its examples."""
        shared = {key: value for key, value in self.items() if _is_identity(key, value)}
        return fingerprint(shared, examples)

    def difference(self, recorded: "RecordingSettings") -> tuple[str, str] | None:
        """The first setting in which a recording is another than the one asked for: as recorded and as asked, typed.

        Metrics come first, for what else differs may follow from them. None where nothing differs.
        """
        # What the model is called is compared only where its weights can't be.
        passed = set() if recorded.weights is None else {"model"}
        # What is left out where it is as before may be in either alone.
        either = {
            *self,
            *(key for key in recorded if key in SETTINGS and (SETTINGS[key].left_out or SETTINGS[key].later)),
        }
        for key in sorted(either, key=lambda key: (key != "metrics", key)):
            known = SETTINGS.get(key)
            if known is None or not known.identity or key in passed:
                continue
            was, now = getattr(recorded, key), getattr(self, key)
            if was != now:
                # What every version wrote and this file lacks has no value to show.
                lacking = key not in recorded and not known.null
                return known.typed(None if lacking and not (known.left_out or known.later) else was), known.typed(now)
        return None


SETTINGS: Mapping[str, Setting] = {
    one.name: replace(known, flag=known.flag or f"--{one.name.replace('_', '-')}")
    for one in fields(RecordingSettings)
    if (known := one.metadata.get("setting")) is not None
}
"""What is known of each setting, by its key."""


def _is_identity(key: str, value: Any) -> bool:
    known = SETTINGS.get(key)
    return known is None or (known.identity and not (known.left_out and value == known.before))


def wrong_setting(settings: Mapping[str, Any]) -> str | None:
    """The first setting of the wrong type, or of an absurd size; None where there is none."""
    return next((key for key, known in SETTINGS.items() if key in settings and not known.fits(settings[key])), None)
