"""The benchmark of Grad-CAM runs, compares its outputs, and the ratios are not absurd."""

import runpy

from hw4.runtime import ROOT


def test_the_benchmark_compares_outputs_and_grad_cam_keeps_what_it_compiled():
    """Ten times the bare pass is far off the goal of twice, and compiling anew takes hundreds."""
    found = runpy.run_path(str(ROOT / "benchmarks/grad_cam.py"))["main"](rounds=3, batches=(1, 5))
    ratios = [ratio for (name, _), ratio in found.items() if name == "bare"]
    assert len(ratios) == 2
    assert max(ratios) < 10
