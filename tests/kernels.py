"""Which matrix kernels this process computes with: results of two machines differ in the last digits by them."""

import os
import subprocess
import sys

# MKL names its kernels only when asked to be verbose from the start, so a process of its own asks.
MKL_PROBE = "import torch; torch.ones(9, 9) @ torch.ones(9, 9)"
CHOICES = ("MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR", "ATEN_CPU_CAPABILITY", "OPENBLAS_CORETYPE")
NARROW = {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "OPENBLAS_CORETYPE": "Haswell"}
NARROWEST = {"MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "default", "OPENBLAS_CORETYPE": "Nehalem"}


def kernels() -> str:
    """One line: the kernels of torch, MKL and OpenBLAS, the threads, and the variables that chose them."""
    import numpy  # noqa: F401 - loads its OpenBLAS, which the pool is asked about
    import threadpoolctl
    import torch

    openblas = {str(pool["architecture"]) for pool in threadpoolctl.threadpool_info() if "architecture" in pool}
    chosen = [f"{name}={os.environ[name]}" for name in CHOICES if name in os.environ]
    return (
        f"kernels: torch {torch.backends.cpu.get_cpu_capability()}, MKL {_mkl()}, OpenBLAS "
        f"{', '.join(sorted(openblas)) or 'none'}; {torch.get_num_threads()} thread(s) a process; "
        f"{' '.join(chosen) or 'chosen by the libraries'}"
    )


def _mkl() -> str:
    """What MKL says of the processor it computes for, and whether it was held to its compatible kernels."""
    done = subprocess.run(
        [sys.executable, "-c", MKL_PROBE], env={**os.environ, "MKL_VERBOSE": "1"}, capture_output=True, text=True
    )
    head, _, calls = done.stdout.partition("\n")
    if "architecture" not in head:
        return "none"
    processor = head.split("architecture", 1)[1].split(",")[0].strip()
    mode = calls.split("CNR:", 1)[1].split()[0] if "CNR:" in calls else "OFF"
    return processor if mode == "OFF" else f"{processor} ({mode})"


def others() -> dict[str, str]:
    """The variables that choose other kernels than this machine's own: AVX2 where there is more, SSE where not."""
    import torch

    return NARROW if torch.backends.cpu.get_cpu_capability() == "AVX512" else NARROWEST


if __name__ == "__main__":
    print(" ".join(f"{name}={value}" for name, value in others().items()))  # noqa: T201
