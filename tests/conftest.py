"""What every test starts from: no window, no figure left open, the same random numbers."""

import random
import sys

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _repeatable():
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - what a test forgot to seed is repeatable all the same
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
