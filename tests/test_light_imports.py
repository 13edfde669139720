"""What must start fast loads nothing heavy."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "datasets", "sklearn", "matplotlib", "h5py", "scipy", "pyarrow")


@pytest.mark.parametrize(
    "code",
    [
        "import gptfl",
        "import gptfl.plugins.registry as r; r.get_registry()",
        "import sys; sys.argv = ['gptfl', '--help']\ntry:\n import gptfl.cli.main as m; m.run()\nexcept SystemExit: pass",
        "import sys; sys.argv = ['gptfl', 'plugins']\ntry:\n import gptfl.cli.main as m; m.run()\nexcept SystemExit: pass",
        "import sys; sys.argv = ['gptfl', 'collect', '--help']\ntry:\n import gptfl.cli.main as m; m.run()\n"
        "except SystemExit: pass",
        "import sys; sys.argv = ['gptfl', 'compare', '--folds', '-2']\ntry:\n import gptfl.cli.main as m; m.run()\n"
        "except SystemExit: pass",
    ],
)
def test_nothing_heavy_is_loaded(code: str) -> None:
    check = f"{code}\nimport sys\nprint(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stderr.strip().split("\n")[-1] == "[]"


def test_the_list_of_commands_loads_no_numbers() -> None:
    code = "import sys; sys.argv = ['gptfl', '--help']\ntry:\n import gptfl.cli.main as m; m.run()\nexcept SystemExit: pass"
    check = f"{code}\nprint({{'numpy', 'jaxtyping', 'gptfl.core'}} & set(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stderr.strip().split("\n")[-1] == "set()"


def test_simulate_can_copy_its_process_before_numbers_are_loaded() -> None:
    """What draws is a copy of it, made before there are threads (``DrawingProcess.is_possible``)."""
    code = "import gptfl.cli.main, gptfl.cli.adapter, gptfl.cli.simulate, sys; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
