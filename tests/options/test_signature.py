"""The signature that a function with options shows."""

import inspect
import pydoc
from dataclasses import dataclass
from typing import Any

from gptfl.options.base import option
from gptfl.options.signature import takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    """A group."""

    often: int = option(2, "How often.")
    loud: bool = option(False, "Aloud.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SingOptions:
    """A command."""

    song: str = option(help="What.")
    inner: Inner = Inner()
    as_json: bool = option(False, "Print JSON.", shell=True)
    key: str | None = option(None, "In which.")


@takes(SingOptions)
def sing(song: str, *groups: object, quiet: bool = False, **options: Any) -> dict[str, Any]:
    """Sing."""
    return {"song": song, "groups": groups, "quiet": quiet, **options}


@takes(SingOptions, without={"loud"})
def hum(*, quiet: bool = False, **options: Any) -> dict[str, Any]:
    """Hum."""
    return options


def test_a_signature_names_every_option_once_with_type_and_default() -> None:
    assert str(inspect.signature(sing)) == (
        "(song: str, *groups: object, often: int = 2, loud: bool = False, key: str | None = None, quiet: bool = False) "
        "-> dict[str, typing.Any]"
    )
    assert "often: int = 2" in pydoc.render_doc(sing, renderer=pydoc.plaintext)


def test_an_option_that_has_to_be_given_has_no_default_and_others_may_be_left_out() -> None:
    shown = inspect.signature(hum).parameters
    assert list(shown) == ["song", "often", "key", "quiet"]
    assert shown["song"].default is inspect.Parameter.empty


def test_the_function_is_called_as_before() -> None:
    assert sing("la", 1, key="G") == {"song": "la", "groups": (1,), "quiet": False, "key": "G"}
    assert inspect.signature(sing).bind("la", often=3).arguments == {"song": "la", "often": 3}
