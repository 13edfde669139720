"""A recipe's file on the command line."""

from collections.abc import Callable
from pathlib import Path

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


def test_a_key_that_is_misspelt_is_refused_with_what_it_may_be(gptfl: Command, tmp_path: Path) -> None:
    path = tmp_path / "sft.yaml"
    path.write_text("learning_rate: 1e-3\nweight_deacy: 0.1\nreport_to: wandb\n", encoding="utf-8")
    found = gptfl(*COLLECT, "--recipe", str(path))
    assert found.code == 2
    assert "weight_deacy" in found.err
    assert "write weight_decay, or leave it out" in found.err


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
