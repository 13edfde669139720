"""A recipe's file and trainers' names on the command line."""

from collections.abc import Callable
from pathlib import Path

from gptfl.cli.trainer_flags import in_own_words
from tests.cli.conftest import Outcome

Command = Callable[..., Outcome]
COLLECT = ("collect", "--model", "tiny", "--task", "errands", "--print-config")


def lines(outcome: Outcome) -> dict[str, str]:
    pairs = (line.split(" = ", 1) for line in outcome.out.splitlines() if not line.startswith("#"))
    return dict(pairs)


def test_a_recipe_gives_options_and_says_what_it_took_and_ignored(gptfl: Command, tmp_path: Path) -> None:
    path = tmp_path / "sft.yaml"
    path.write_text("learning_rate: 1e-3\nwarmup_ratio: 0.1\nreport_to: wandb\nseed: 1\n", encoding="utf-8")
    found = gptfl(*COLLECT, "--recipe", str(path), "--steps", "7", "--beta2", "0.9")
    assert found.code == 0
    assert "ignored: report_to, seed" in found.err
    assert "--epochs" not in found.err
    options = lines(found)
    assert (options["lr"], options["warmup"], options["steps"], options["beta2"]) == ("0.001", "0.1", "7", "0.9")
    assert (options["loss-mean"], options["clip-norm"], options["eps"]) == ('"tokens"', "1.0", "1e-08")


def test_options_of_a_config_go_before_a_recipe(gptfl: Command, tmp_path: Path) -> None:
    recipe, config = tmp_path / "sft.yaml", tmp_path / "mine.toml"
    recipe.write_text("learning_rate: 1e-3\nmax_grad_norm: 0.5\n", encoding="utf-8")
    config.write_text("lr = 0.25\nsteps = 9\n", encoding="utf-8")
    options = lines(gptfl(*COLLECT, "--recipe", str(recipe), "--config", str(config)))
    assert (options["lr"], options["clip-norm"], options["steps"]) == ("0.25", "0.5", "9")
    assert "epochs" not in options


def test_what_a_recipe_asks_for_in_vain_is_one_line(gptfl: Command, tmp_path: Path) -> None:
    path = tmp_path / "sft.yaml"
    path.write_text("neftune_noise_alpha: 5\n", encoding="utf-8")
    found = gptfl(*COLLECT, "--recipe", str(path))
    assert (found.code, found.err.count("\n")) == (2, 1)
    assert "neftune_noise_alpha is 5" in found.err


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
