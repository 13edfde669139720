"""Versions of installed distributions."""

from importlib import metadata

import pytest

from gptfl.core.versions import installed_version, version_of


@pytest.mark.parametrize("name", ["gptfl", "numpy", "scikit-learn", "pluggy"])
def test_it_is_the_version_that_the_library_itself_reads(name: str) -> None:
    assert installed_version(name) == metadata.version(name)


def test_a_description_that_speaks_of_versions_changes_nothing() -> None:
    class Described(metadata.PathDistribution):
        def read_text(self, filename: str) -> str | None:
            return "Metadata-Version: 2.4\nName: a\nversion: 1.2\n\nVersion: 3\n" if filename == "METADATA" else None

    assert version_of(Described(None)) == "1.2"  # type: ignore[arg-type]


def test_what_is_not_installed_is_no_version() -> None:
    with pytest.raises(metadata.PackageNotFoundError):
        installed_version("no-such-distribution")
