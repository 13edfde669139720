"""Linear algebra has one thread where matrices are small, and as many as before afterwards."""

from threadpoolctl import threadpool_info, threadpool_limits

from gptfl.estimators.threads import one_blas_thread


def threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_one_thread_within_and_as_before_after() -> None:
    import scipy.linalg  # noqa: F401  # brings a library of its own

    with threadpool_limits(limits=2, user_api="blas"):
        for _ in range(2):
            with one_blas_thread():
                assert threads() == {1}
            assert threads() == {2}
