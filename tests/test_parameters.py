"""No public function takes more options one by one than fit on a screen: what has many takes them in groups."""

import ast
import inspect
from pathlib import Path

from gptfl.plugins.registry import get_registry

ROOT = Path(__file__).parents[1]
MOST = 12


def test_no_public_function_has_many_parameters() -> None:
    many = set()
    for path in sorted((ROOT / "gptfl").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and (node.name == "__init__" or not node.name.startswith("_")):
                given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                if len([one for one in given if one.arg not in ("self", "cls")]) > MOST:
                    many.add((path, node.lineno))
    assert many <= constructors()


def constructors() -> set[tuple[Path, int]]:
    """Where those of registered estimators begin: an estimator's settings are the parameters of its constructor."""
    registry = get_registry()
    needed = {"scores": {"file": "scores.npy"}}
    kinds = {type(registry.make("estimator", name, **needed.get(name, {}))) for name in registry.names("estimator")}
    own = [kind.__init__ for kind in kinds if inspect.isfunction(kind.__init__)]
    return {(Path(one.__code__.co_filename), one.__code__.co_firstlineno) for one in own}
