"""Which matrix kernels this process computes with: results of two machines differ in the last digits by them."""

import json
import os
import subprocess
import sys

# MKL names its kernels only when asked to be verbose from the start, so a process of its own asks, and asks the others.
PROBE = """
import json, threadpoolctl, numpy, torch
torch.ones(9, 9) @ torch.ones(9, 9)
openblas = {str(pool["architecture"]) for pool in threadpoolctl.threadpool_info() if "architecture" in pool}
found = {"torch": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()}
print("\\n" + json.dumps({**found, "openblas": ", ".join(sorted(openblas))}))
"""
CHOICES = ("MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR", "ATEN_CPU_CAPABILITY", "OPENBLAS_CORETYPE")
NARROW = {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "OPENBLAS_CORETYPE": "Haswell"}
NARROWEST = {"MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "default", "OPENBLAS_CORETYPE": "Nehalem"}


def kernels() -> str:
    """One line: the kernels of torch, MKL and OpenBLAS, the threads, and the variables that chose them."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        env={**os.environ, "MKL_VERBOSE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    found = json.loads(next(line for line in lines if line.startswith("{")))
    chosen = [f"{name}={os.environ[name]}" for name in CHOICES if name in os.environ]
    return (
        f"kernels: torch {found['torch']}, MKL {_mkl(lines)}, OpenBLAS {found['openblas'] or 'none'}; "
        f"{found['threads']} thread(s) a process; {' '.join(chosen) or 'chosen by the libraries'}"
    )


def _mkl(lines: list[str]) -> str:
    """What MKL says of the processor it computes for, and whether it was held to its compatible kernels."""
    said = [line for line in lines if line.startswith("MKL_VERBOSE")]
    if not said or "architecture" not in said[0]:
        return "none"
    processor = said[0].split("architecture", 1)[1].split(",")[0].strip()
    calls = "".join(said[1:])
    mode = calls.split("CNR:", 1)[1].split()[0] if "CNR:" in calls else "OFF"
    return processor if mode == "OFF" else f"{processor} ({mode})"


def others() -> dict[str, str]:
    """The variables that choose other kernels than this machine's own: AVX2 where there is more, SSE where not."""
    import torch

    return NARROW if torch.backends.cpu.get_cpu_capability() == "AVX512" else NARROWEST


if __name__ == "__main__":
    print(" ".join(f"{name}={value}" for name, value in others().items()))  # noqa: T201
