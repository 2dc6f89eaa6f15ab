"""Freeze what real PyTorch's batch normalisation does, for machines without PyTorch.

Run `python tests/make_pytorch_batch_norm.py` where torch is installed; it rewrites
`tests/data/pytorch_batch_norm.json`. Images are stored channels last, as hw4 takes them.
"""

import json
from pathlib import Path

import numpy as np
import torch

TARGET = Path(__file__).parent / "data" / "pytorch_batch_norm.json"
CASES = [
    # shape, momentum, eps, mean and scale of the data, number of training steps
    ((7, 3), 0.1, 1e-5, 0.0, 1.0, 3),
    ((5, 4), 0.3, 1e-3, -2.0, 0.01, 2),
    ((2, 6), 1.0, 1e-5, 100.0, 5.0, 2),
    ((11, 2), 0.0, 0.5, 1e6, 3.0, 1),
    ((2, 3, 5, 4), 0.1, 1e-5, 0.5, 2.0, 3),
    ((1, 4, 3, 2), 0.25, 1e-2, 10.0, 0.1, 2),
]


def run(shape, momentum, eps, mean, scale, steps, seed):
    """Train for some steps, then infer once, with random upstream gradients, in float64."""
    rng = np.random.default_rng(seed)
    features = shape[-1]
    kind = torch.nn.BatchNorm1d if len(shape) == 2 else torch.nn.BatchNorm2d
    layer = kind(features, eps=eps, momentum=momentum, dtype=torch.float64)
    gamma, beta = rng.normal(1, 0.5, features), rng.normal(0, 1, features)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(gamma))
        layer.bias.copy_(torch.from_numpy(beta))
    records = []
    for step in range(steps + 1):
        layer.train(step < steps)
        layer.zero_grad()
        x, dout = rng.normal(mean, scale, shape), rng.normal(0, 1, shape)
        leaf = torch.from_numpy(x).requires_grad_()
        out = layer(leaf.movedim(-1, 1)).movedim(1, -1)
        out.backward(torch.from_numpy(dout))
        arrays = {
            "x": x,
            "dout": dout,
            "out": out.detach().numpy(),
            "dx": leaf.grad.numpy(),
            "dgamma": layer.weight.grad.numpy(),
            "dbeta": layer.bias.grad.numpy(),
            "running_mean": layer.running_mean.numpy(),
            "running_var": layer.running_var.numpy(),
        }
        record = {name: array.tolist() for name, array in arrays.items()}
        records.append({"training": layer.training} | record)
    settings = {"momentum": momentum, "eps": eps, "gamma": gamma.tolist(), "beta": beta.tolist()}
    return settings | {"steps": records}


def refusals():
    """Batches of one: which of them PyTorch refuses to train on, and with what words."""
    answers = []
    for shape in [(1, 3), (2, 3), (1, 3, 1, 1), (1, 3, 2, 1)]:
        layer = torch.nn.BatchNorm1d(3) if len(shape) == 2 else torch.nn.BatchNorm2d(3)
        try:
            layer(torch.zeros(shape))
            message = None
        except ValueError as error:
            message = str(error)
        last = shape if len(shape) == 2 else (shape[0], shape[2], shape[3], shape[1])
        answers.append({"shape": list(last), "message": message})
    return answers


def make():
    """Everything the tests compare with."""
    cases = [run(*case, seed) for seed, case in enumerate(CASES)]
    version = torch.__version__.split("+")[0]
    return {"torch": version, "cases": cases, "refusals": refusals()}


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(json.dumps(make()) + "\n")
    print(f"wrote {TARGET.name}")
