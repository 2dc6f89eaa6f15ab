"""Random layers, what PyTorch says about them, and the table tests/data/pytorch_shapes.json.

`python tests/make_pytorch_shapes.py` in an environment that has PyTorch rewrites the table: each
layer is built and called on a CPU tensor of zeros. A refusal is any exception, or an output without
elements (one of PyTorch's CPU paths returns those where the others refuse).
"""

import json
import random
from pathlib import Path

TABLE = Path(__file__).parent / "data" / "pytorch_shapes.json"
KINDS = (
    "Conv2D",
    "DepthwiseConv2D",
    "SeparableConv2D",
    "Conv2DTranspose",
    "MaxPool2D",
    "AvgPool2D",
)


def random_case(rng, words):
    """Return (kind, arguments, input shape); ``words`` is the share of paddings that are words."""

    def size(values, weights=None):
        one, two = (rng.choices(values, weights)[0] for _ in "hw")
        return one if rng.random() < 0.6 else [one, two]

    kind = rng.choice(KINDS)
    channels = rng.choice((1, 2, 3, 4, 6))
    shape = [rng.randint(1, 20), rng.randint(1, 20), channels]
    wild = rng.random() < 0.04
    some = (1, 2, 3, 4, 5, 7, 0, -1) if wild else (1, 2, 3, 4, 5, 7)
    padding = rng.choices(("valid", "same", "full", "SAME"), (5, 5, 0.2, 0.2))[0]
    if rng.random() > words:
        padding = size((0, 1, 2, 3, 4, -1) if wild else (0, 1, 2, 3, 4))
    arguments = {"padding": padding}
    if "Pool" in kind:
        arguments["pool_size"] = size(some)
        if rng.random() < 0.6:
            arguments["strides"] = size(some)
        if rng.random() > words:
            arguments["ceil_mode"] = True
        if kind == "MaxPool2D" and rng.random() > words:
            arguments["dilation_rate"] = size((1, 2, 3))
        return kind, arguments, shape
    arguments["kernel_size"] = size(some)
    arguments["strides"] = size(some, [9, 5, 2, 1, 1, 1, 1, 1][: len(some)])
    arguments["dilation_rate"] = size(some, [9, 4, 2, 1, 1, 1, 1, 1][: len(some)])
    arguments["use_bias"] = rng.random() < 0.7
    if kind in ("DepthwiseConv2D", "SeparableConv2D"):
        arguments["depth_multiplier"] = rng.choice((1, 1, 2, 3))
    if kind != "DepthwiseConv2D":
        arguments["filters"] = rng.choice((1, 2, 4, 6, 8, 12, *((0, -2) if wild else ())))
    if kind in ("Conv2D", "Conv2DTranspose"):
        arguments["groups"] = rng.choices((1, 2, 3, 4), (8, 2, 1, 1))[0] if not wild else 0
    if kind == "Conv2DTranspose" and rng.random() < 0.6:
        arguments["output_padding"] = size((0, 1, 2, 3, *((-1,) if wild else ())))
    return kind, arguments, shape


def cases(count, seed, words=0.5):
    """Return a list of random cases."""
    rng = random.Random(seed)
    return [random_case(rng, words) for _ in range(count)]


def torch_layer(kind, arguments, channels):
    """Build the PyTorch module of a case."""
    from torch import nn

    a = {name: tuple(v) if isinstance(v, list) else v for name, v in arguments.items()}
    zero = {"valid": 0}.get(a["padding"], a["padding"])
    if "Pool" in kind:
        options = {"ceil_mode": a.get("ceil_mode", False)}
        if kind == "MaxPool2D":
            options["dilation"] = a.get("dilation_rate", 1)
        cls = nn.MaxPool2d if kind == "MaxPool2D" else nn.AvgPool2d
        return cls(a["pool_size"], a.get("strides"), zero, **options)
    sizes = {"stride": a["strides"], "dilation": a["dilation_rate"]}
    if kind == "Conv2DTranspose":
        more = {"groups": a["groups"], "bias": a["use_bias"]}
        more["output_padding"] = a.get("output_padding", 0)
        return nn.ConvTranspose2d(
            channels, a["filters"], a["kernel_size"], padding=zero, **sizes, **more
        )
    sizes["padding"] = a["padding"]
    if kind == "Conv2D":
        more = {"groups": a["groups"], "bias": a["use_bias"]}
        return nn.Conv2d(channels, a["filters"], a["kernel_size"], **sizes, **more)
    many = channels * a["depth_multiplier"]
    more = {"groups": channels, "bias": a["use_bias"] and kind == "DepthwiseConv2D"}
    depthwise = nn.Conv2d(channels, many, a["kernel_size"], **sizes, **more)
    if kind == "DepthwiseConv2D":
        return depthwise
    return nn.Sequential(depthwise, nn.Conv2d(many, a["filters"], 1, bias=a["use_bias"]))


def torch_truth(case):
    """Return [height, width, channels, parameters] from PyTorch, or None where it refuses."""
    import torch

    torch.set_num_threads(1)  # the tensors are tiny
    kind, arguments, (height, width, channels) = case
    try:
        layer = torch_layer(kind, arguments, channels)
        with torch.no_grad():
            _, c, h, w = layer(torch.zeros(1, channels, height, width)).shape
    except Exception:
        return None
    if 0 in (c, h, w):
        return None
    return [h, w, c, sum(p.numel() for p in layer.parameters() if p.requires_grad)]


def main(count=1500, seed=2013):
    """Write the frozen table."""
    import torch

    rows = [[*case, torch_truth(case)] for case in cases(count, seed)]
    lines = ",\n".join(json.dumps(row) for row in rows)
    head = json.dumps({"torch": torch.__version__.partition("+")[0], "seed": seed})
    TABLE.write_text(f'{head[:-1]}, "rows": [\n{lines}\n]}}\n', encoding="utf-8")
    print(f"{TABLE.name}: {count} layers, {sum(row[3] is None for row in rows)} refused")


if __name__ == "__main__":
    main()
