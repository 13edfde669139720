"""What the adapter makes of a dataclass: options with panels, defaults and completion, and one object a group."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import typer
from typer.testing import CliRunner

from gptfl.cli.adapter import Once, completion, with_options
from gptfl.cli.commands import COMMANDS
from gptfl.cli.main import app
from gptfl.errors import UsageError
from gptfl.options.base import POSITIVE, at_least, option


@dataclass(frozen=True, slots=True, kw_only=True)
class Food:
    """What is eaten."""

    PANEL: ClassVar = "Food"
    dish: str = option(help="What to eat.", metavar="DISH")
    times: int = option(1, "How often.", bound=at_least(1))
    spice: tuple[str, ...] = option(("salt",), "With what.", flag="--spice", shown="salt")
    hot: bool = option(True, "Warm.", flag="--hot/--cold")
    to_go: bool = option(False, "Packed.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drink:
    """What is drunk."""

    drink: str | None = option(None, "What to drink.", flag=("--drink", "-d"), envvar="DRINK", shown="water")
    litres: float = option(0.5, "How much.", bound=POSITIVE, panel="Amount")
    menu: str | Path | None = option(None, "Where it is from.", shown=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meal:
    """Both."""

    food: Food
    drink: Drink = Drink()


def run(*words: str, kinds: tuple[type, ...] = (Meal,), env: dict[str, str] | None = None) -> list[Any]:
    """The objects that a command is called with."""
    got: list[Any] = []

    @with_options(*kinds)
    def command(*objects: Any) -> None:
        """Eat."""
        got.extend(objects)

    app = typer.Typer()
    app.command(cls=Once)(command)
    result = CliRunner().invoke(app, words, env=env, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return got


def test_a_command_gets_one_object() -> None:
    assert run("--dish", "soup") == [Meal(food=Food(dish="soup"))]
    words = "--dish soup --times 2 --spice dill --spice salt --cold --to-go -d tea --litres 1 --menu a/b"
    (meal,) = run(*words.split())
    assert meal.food == Food(dish="soup", times=2, spice=("dill", "salt"), hot=False, to_go=True)
    assert meal.drink == Drink(drink="tea", litres=1.0, menu=Path("a/b"))


def test_a_command_of_several_groups_gets_one_object_of_each() -> None:
    assert run("--dish", "rice", kinds=(Food, Drink)) == [Food(dish="rice"), Drink()]


def test_the_environment_is_read() -> None:
    assert run("--dish", "rice", env={"DRINK": "milk"})[0].drink.drink == "milk"


def test_a_file_gives_options_of_all_groups_and_what_is_typed_or_in_the_environment_goes_before(tmp_path: Path) -> None:
    path = tmp_path / "meal.toml"
    path.write_text('dish = "rice"\ntimes = 3\nhot = false\ndrink = "tea"\nspice = ["dill"]\nlitres = 2')
    food, drink = Food(dish="rice", times=3, spice=("dill",), hot=False), Drink(drink="tea", litres=2.0)
    assert run("--config", str(path), kinds=(Food, Drink)) == [food, drink]
    food, drink = Food(dish="rice", times=1, spice=("salt",), hot=True), Drink(drink="milk", litres=2.0)
    words = ("--times", "1", "--config", str(path), "--spice", "salt", "--hot")
    assert run(*words, kinds=(Food, Drink), env={"DRINK": "milk"}) == [food, drink]


def test_bounds_are_checked_before_the_command_runs() -> None:
    with pytest.raises(UsageError, match=r"^times is 0: give at least 1"):
        run("--dish", "rice", "--times", "0")


def test_help_shows_panels_defaults_and_names() -> None:
    @with_options(Meal)
    def command(meal: Meal) -> None:
        """Eat."""

    app = typer.Typer(rich_markup_mode="markdown")
    app.command(cls=Once)(command)
    text = CliRunner().invoke(app, ["--help"], terminal_width=120).output
    for piece in ("Food", "Amount", "--dish", "DISH", "[required]", "[default: 1]", "[default: (salt)]", "--cold"):
        assert piece in text
    assert "--config" in text
    assert "--print-config" in text


def test_completion_offers_words_models_and_parts() -> None:
    words = completion(("mean", "self"))
    models, tasks, nothing = completion("model"), completion("task"), completion(None)
    assert words is not None
    assert models is not None
    assert tasks is not None
    assert words("m") == ["mean"]
    assert models("tin") == ["tiny"]
    assert tasks("err") == ["errands"]
    assert nothing is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--dish", "a", "--dish", "b"), "--dish is given twice: give it once"),
        (("--dish", "a", "--dish=a", "--dish", "a"), "--dish is given 3 times: give it once"),
        (("--dish", "a", "-d", "x", "--drink", "y"), "--drink is given twice: give it once"),
        (("--dish", "a", "--hot", "--cold"), "--hot/--cold is given twice: give it once"),
        (("--dish", "a", "--config", "a.toml", "--config", "b.toml"), "--config is given twice: give it once"),
    ],
)
def test_what_takes_one_value_is_given_once(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}$"):
        run(*words)


def test_several_values_and_a_flag_that_says_yes_may_be_given_again() -> None:
    (meal,) = run("--dish", "a", "--spice", "x", "--spice", "x", "--to-go", "--to-go")
    assert (meal.food.spice, meal.food.to_go) == (("x", "x"), True)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command_that_takes_one_value_is_given_once(name: str) -> None:
    root: Any = typer.main.get_command(app)
    command = root.commands[name]
    single = [one for one in command.params if one.param_type_name == "option" and not (one.is_flag or one.multiple)]
    for one in single:
        with pytest.raises(UsageError, match=f"^{one.opts[0]} is given twice: give it once$"):
            command.parse_args(typer.Context(command), [one.opts[0], "1", one.opts[-1], "2"])
    assert single or name == "unlock" or name == "plugins"
