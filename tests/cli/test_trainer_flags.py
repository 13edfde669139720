"""Trainers' names on the command line."""

from collections.abc import Callable

from gptfl.cli.trainer_flags import in_own_words
from tests.cli.conftest import Outcome

Command = Callable[..., Outcome]


COLLECT = ("collect", "--model", "tiny", "--task", "errands", "--print-config")


def test_trainers_names_are_ours(gptfl: Command) -> None:
    theirs = "--learning_rate 1e-3 --lr-scheduler-type cosine --warmup-ratio=0.1 --max-grad-norm 1 --optim sgd "
    theirs += (
        "--per_device_train_batch_size 2 --gradient-accumulation-steps 4 --num-train-epochs 2 --max-seq-length 64 "
    )
    theirs += "--weight_decay 0.1"
    ours = "--lr 1e-3 --schedule cosine --warmup 0.1 --clip-norm 1 --optimiser sgd --batch-size 8 --accumulate 4 --epochs 2 "
    ours += "--max-length 64 --weight-decay 0.1"
    assert gptfl(*COLLECT, *theirs.split()).out == gptfl(*COLLECT, *ours.split()).out
    assert gptfl(*COLLECT, "--max-steps", "5").out == gptfl(*COLLECT, "--steps", "5").out


def test_trainers_names_of_what_is_not_there_are_refused_in_a_line(gptfl: Command) -> None:
    for words in (
        "--label-smoothing-factor 0.1",
        "--packing-strategy wrapped --sample-packing",
        "--neftune_noise_alpha=5",
    ):
        found = gptfl(*COLLECT, *words.split())
        assert (found.code, found.err.count("\n")) == (2, 1)
        assert words.lstrip("-").replace("-", "_").partition(" ")[0].partition("=")[0] in found.err
    found = gptfl(*COLLECT, "--gradient-accumulation-steps", "8")
    assert "--per-device-train-batch-size N" in found.err
    for theirs, ours in (
        ("--packing", "--packing bfd"),
        ("--packing=True", "--packing bfd"),
        ("--packing false", ""),
        ("--group_by_length true", "--group-by-length"),
        ("--group_by_length=False", ""),
        ("--train-sampling-strategy group_by_length", "--group-by-length"),
        ("--load-in-4bit --lora r=2", "--quantize 4bit --lora r=2"),
        ("--optim adamw_8bit", "--optimiser adamw-8bit"),
    ):
        assert gptfl(*COLLECT, *theirs.split()).out == gptfl(*COLLECT, *ours.split()).out
    assert "--lr is given twice" in gptfl(*COLLECT, "--lr", "1", "--learning-rate", "1").err


def test_other_words_stay_as_they_are() -> None:
    own = {"--lr", "--no-texts", "--metric"}
    words = ["--metric", "loss", "--no-texts", "--no-such", "x", "-h", "--lr=1"]
    assert in_own_words(words, own) == words
    assert in_own_words(["--no_texts", "--lr=1", "--", "--learning-rate"], own) == [
        "--no-texts",
        "--lr=1",
        "--",
        "--learning-rate",
    ]
