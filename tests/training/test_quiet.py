import logging
import subprocess
import sys

import pytest

from gptfl.training.quiet import quiet_imports
from tests.zygote import run

ATTACH = """
import sys

if "bitsandbytes" in sys.modules:
    sys.exit(3)
from torch import nn
from gptfl.training.lora import Lora, attach
from gptfl.training.optimisers import check_package, decayed

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj = nn.Linear(4, 4)

model = Model()
decayed(model)
attach(model, Lora(r=2, targets=("q_proj",)), None, seed=0)
check_package("adamw-8bit")
"""


def test_what_bitsandbytes_advises_is_not_heard_where_nobody_asked_for_quantised_weights(copied):
    pytest.importorskip("bitsandbytes")
    pytest.importorskip("peft")
    done = run([sys.executable, "-c", ATTACH])
    if done.returncode == 3:  # what was copied had loaded it, and it speaks when it is loaded
        done = subprocess.run([sys.executable, "-c", ATTACH], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_levels_are_as_before_afterwards(caplog):
    logger = logging.getLogger("bitsandbytes.backends.cpu.ops")
    with quiet_imports():
        logger.warning("install something")
    logger.warning("heard again")
    assert [record.message for record in caplog.records] == ["heard again"]
