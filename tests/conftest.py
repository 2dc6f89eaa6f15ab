"""What every test starts from: no window, no figure left open, the same random numbers."""

import os
import random
import sys

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import settings

mpl.use("Agg")
# A test is not red because the machine was busy for a moment.
settings.register_profile("hw4", deadline=None)
settings.load_profile("hw4")
# What `runtime.start` arranges before TensorFlow is loaded; most tests load it before any start.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
if threads := os.environ.pop("HW4_THREADS", None):
    os.environ |= {"TF_NUM_INTRAOP_THREADS": threads, "TF_NUM_INTEROP_THREADS": threads}


@pytest.fixture(autouse=True)
def _repeatable():
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - what a test forgot to seed is repeatable all the same
    if tensorflow := sys.modules.get("tensorflow"):
        # as in the notebooks, and so without XLA, which takes seconds to compile a network
        tensorflow.config.experimental.enable_op_determinism()
        tensorflow.random.set_seed(0)
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def undrawn(monkeypatch):
    """Networks start from zeros: to draw the 138 million numbers of a VGG16 takes seconds."""
    import keras

    def zeros(self, shape, dtype=None):
        return keras.ops.zeros(shape, dtype)

    monkeypatch.setattr(keras.initializers.GlorotUniform, "__call__", zeros)
