"""What an error says, and which errors mean that memory is full."""

import numpy as np
import pytest

from gptfl.errors import LONGEST, DataError, is_memory_full


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:116] data. DefaultCPUAllocator: not enough memory"),
        RuntimeError("could not create a primitive"),
        RuntimeError("could not create a memory object"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("can't start new thread"),
        OSError("Can't synchronously read data (memory allocation failed for raw data chunk)"),
        np.linalg.LinAlgError("init_gesdd failed init"),
        ValueError("Unable to allocate 8 GiB"),
    ],
)
def test_full_memory_in_whatever_words(error: Exception) -> None:
    assert is_memory_full(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("could not create a primitive descriptor for a matmul primitive"),
        RuntimeError("shapes differ"),
        OSError(2, "No such file or directory"),
        DataError("the text 'out of memory' is no id"),
    ],
)
def test_what_is_not_full_memory(error: Exception) -> None:
    assert not is_memory_full(error)


def test_what_an_error_quotes_may_be_of_any_length() -> None:
    error = DataError(f"a.txt: {'x' * 10**6} is no id", "y" * 10**6)
    assert error.problem.startswith("a.txt: xxx")
    assert error.problem.endswith("xxx is no id")
    assert len(error.problem) < LONGEST
    assert len(error.remedy) < LONGEST
