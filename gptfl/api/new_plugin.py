"""Writes the beginning of a plugin: a distribution as docs/writing-plugins.md describes it."""

import importlib.util
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from gptfl.core import user_path
from gptfl.errors import DataError, UsageError
from gptfl.options.new_plugin import KINDS, NewPluginOptions
from gptfl.plugins.registry import Registry
from gptfl.store.durable import cannot_write, part_of, put_folder_in_place

PREFIX = "gptfl-"
LONGEST = 40
"""Characters of a name, so that files named after it can be written anywhere."""
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_USES = {
    "estimator": "gptfl fit --estimator {0}\ngptfl compare --estimator {0}",
    "encoder": "gptfl featurize --encoder {0}\ngptfl fit --encoder {0}",
    "metric": "gptfl collect --model tiny --task errands --metric loss --metric {0}",
    "task": "gptfl collect --model tiny --task {0}",
}
"""What each kind of part is used by, once there is a recording."""


@dataclass(frozen=True, slots=True)
class NewPlugin:
    """The plugin that was written: its folder, the part that it adds, and its files by their path in the folder."""

    path: Path
    kind: str
    part: str
    distribution: str
    files: tuple[str, ...]


def new_plugin_with(options: NewPluginOptions, registry: Registry) -> NewPlugin:
    """Write the plugin, whole or not at all: where it lies and what is in it. The registry says which names are taken.

    Raises ``UsageError`` for a name or kind that can't be, ``DataError`` where the folder or a part or package of that
    name is there already, and ``ResourceError`` where nothing can be written.
    """
    part = _part(options.name)
    if options.kind not in KINDS:
        raise UsageError(f"--kind is {options.kind!r}", f"give {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    distribution = PREFIX + part
    package = distribution.replace("-", "_")
    _check_new(registry, options.kind, part, package)
    target = Path(distribution) if options.output is None else user_path(options.output)
    _check_free(target)
    names = {
        "kind": options.kind,
        "part": part,
        "part_class": "".join(word.title() for word in (*part.split("-"), options.kind)),
        "distribution": distribution,
        "package": package,
        "use": _USES[options.kind].format(part),
    }
    texts = _texts(options.kind, package, names)
    try:
        with part_of(target, folder=True) as unfinished:
            for name, text in texts.items():
                path = unfinished / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            _check_free(target)
            put_folder_in_place(unfinished, target)
    except OSError as error:
        raise cannot_write(target, error) from error
    return NewPlugin(target, options.kind, part, distribution, tuple(texts))


def _part(name: str) -> str:
    """The name of the part. Raises ``UsageError`` for one that can't be that of a package and an entry point."""
    part = name.removeprefix(PREFIX)
    if not _NAME.fullmatch(part) or len(part) > LONGEST or part == PREFIX.rstrip("-"):
        raise UsageError(
            f"NAME is {name!r}",
            f"give small letters and digits, in words joined by single hyphens, at most {LONGEST}, such as steady-pace",
        )
    return part


def _check_new(registry: Registry, kind: str, part: str, package: str) -> None:
    """Raise ``DataError`` where a part of that name is registered, or a package of that name can be imported."""
    claims = registry.parts.get((kind, part), [])
    if claims:
        raise DataError(f"NAME: {kind} {part!r} is there already, by {claims[0].owner}", "choose another name")
    if importlib.util.find_spec(package) is not None:
        raise DataError(f"NAME: a package {package} is there already", "choose another name, or uninstall that one")


def _check_free(target: Path) -> None:
    """Raise ``DataError`` unless nothing is there: what is there may be the user's own."""
    if target.exists() or target.is_symlink():
        raise DataError(f"{target} is there already, and is not overwritten", "give another --output, or move it away")


def _texts(kind: str, package: str, names: dict[str, str]) -> dict[str, str]:
    """Each file of the plugin, by its path in the folder."""
    sources = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"src/{package}/__init__.py": "__init__.py",
        f"src/{package}/plugin.py": "plugin.py",
        f"src/{package}/{kind}.py": f"{kind}.py",
        f"tests/test_{package}.py": f"test_{kind}.py",
    }
    folder = files("gptfl.api") / "plugin_files"
    return {
        path: Template((folder / f"{source}.txt").read_text(encoding="utf-8")).substitute(names)
        for path, source in sources.items()
    }
