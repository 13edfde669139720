"""What an author imports is there, and the same as where it is defined."""

import importlib

import pytest

import gptfl.plugins as public


def test_every_public_name_is_where_it_is_said_to_be() -> None:
    for name in public.__all__:
        found = getattr(public, name)
        assert found is getattr(importlib.import_module(f"gptfl.{public._WHERE[name]}"), name)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        public.Nothing  # noqa: B018
