"""Functions that measure times."""

import time
from collections.abc import Callable

import torch


def milliseconds(work: Callable[[], object], device: torch.device, seconds: float = 1.0) -> float:
    """The fastest of the runs that fit into some seconds (at least two): the one that others disturbed least."""
    fastest, began = float("inf"), time.perf_counter()
    for i in range(10_000):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        fastest = min(fastest, time.perf_counter() - start)
        if i and time.perf_counter() - began > seconds:
            break
    return 1_000 * fastest


def gflops(device: torch.device, rows: int = 128, width: int = 400) -> float:
    """The machine's rate for the matrix product that training is made of, in 10^9 operations a second."""
    a, b = torch.randn(rows, width, device=device), torch.randn(width, width, device=device)
    return 2 * rows * width**2 / milliseconds(lambda: a @ b, device) / 1e6
