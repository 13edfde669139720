"""What an error says, and which errors mean that memory is full."""

import pickle

import numpy as np
import pytest

from gptfl.errors import LONGEST, DataError, UsageError, is_memory_full


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


def test_an_option_is_called_as_it_is_typed_and_as_it_is_given_in_python() -> None:
    error = UsageError("is 0", "give at least 1", option="batch_size")
    assert (error.line, str(error)) == ("--batch-size is 0: give at least 1", "batch_size is 0: give at least 1")
    assert (error.problem, error.remedy) == ("--batch-size is 0", "give at least 1")
    again = pickle.loads(pickle.dumps(error))
    assert (again.line, str(again), again.option) == (error.line, str(error), "batch_size")
    several = UsageError("is empty", option="metrics", flag="--metric")
    assert (several.line, str(several)) == ("--metric is empty", "metrics is empty")
    plain = UsageError("--a and --b", "choose one")
    assert (plain.line, str(plain), plain.option) == ("--a and --b: choose one",) * 2 + (None,)
