"""No public function takes more options one by one than fit on a screen: what has many takes them in groups."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST = 12
LEFT = {
    "gptfl/api/compare.py:compare",
    "gptfl/api/learning_curve.py:learning_curve",
    "gptfl/api/rank.py:rank",
    "gptfl/api/relabel_study.py:relabel_study",
    "gptfl/api/select.py:select",
    "gptfl/api/select_study.py:select_study",
    "gptfl/api/simulate.py:simulate",
    "gptfl/api/sweep.py:sweep",
    "gptfl/api/verify.py:verify",
    "gptfl/estimators/gptfluence/estimator.py:__init__",
    "gptfl/simulation/fit.py:fit",
}
"""Those that don't yet; the settings of an estimator are the parameters of its class."""


def test_no_public_function_has_many_parameters() -> None:
    many = set()
    for path in sorted((ROOT / "gptfl").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and (node.name == "__init__" or not node.name.startswith("_")):
                given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                if len([one for one in given if one.arg not in ("self", "cls")]) > MOST:
                    many.add(f"{path.relative_to(ROOT).as_posix()}:{node.name}")
    assert many == LEFT
