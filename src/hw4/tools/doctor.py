"""`hw4 doctor`: check an installation part by part and say how to mend what is wrong."""

import json
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from importlib import metadata

from hw4 import runtime
from hw4.tools.colab import pins

KERAS_DEFAULTS = {
    "backend": "tensorflow",
    "image_data_format": "channels_last",
    "floatx": "float32",
    "epsilon": 1e-7,
}


def main() -> int:
    """Print one line a check; return 1 if one of them failed."""
    failures = 0
    for name, check in CHECKS.items():
        try:
            print(f"ok    {name}: {check()}")
        except Exception as error:
            failures += 1
            print(f"FAIL  {name}: {error}")
    print("all well" if not failures else f"{failures} of {len(CHECKS)} checks failed")
    return 1 if failures else 0


def _python() -> str:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}"


def _packages() -> str:
    wanted = pins((runtime.ROOT / "requirements.txt").read_text(encoding="utf-8"))
    wrong = [
        f"{name} {version} wanted, {found or 'none'} found"
        for name, version in wanted.items()
        if (found := _installed(name)) != version
    ]
    if wrong:
        raise ValueError("; ".join(wrong) + ". Run `make clean` and then `make test`.")
    return f"{len(wanted)} as pinned"


def _installed(name: str) -> str | None:
    # set-up may have put the headless build of OpenCV in the place of the other
    for candidate in (name, f"{name}-headless"):
        try:
            return metadata.version(candidate)
        except metadata.PackageNotFoundError:
            continue
    return None


def _backend() -> str:
    seed = runtime.start(0)
    found = runtime.environment(seed, data="")
    text = f"Keras {found['versions']['keras']} on {found['backend']}, {found['device']}"
    if found["device"].startswith("CPU") and (card := _nvidia_card()):
        text += (
            f"; {card} is there and not used: set-up installs its libraries unless HW4_GPU=0 "
            "(HW4_GPU=1 make doctor insists on them)"
        )
    return text


def _nvidia_card() -> str | None:
    """Name the first NVIDIA card of this machine, whether the backend can use it or not."""
    if (program := shutil.which("nvidia-smi")) is None:
        return None
    try:
        listed = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"GPU 0: ([^(\n]+)", listed)
    return found[1].strip() if found else None


def _settings() -> str:
    for variable in ("HW4_WEIGHTS_DIR", "HW4_GRAZPEDWRI", "HW4_GAS"):
        runtime.path_setting(variable)
    return f"profile {runtime.profile()}{_personal_keras()}"


def _personal_keras() -> str:
    """Mention a personal keras.json that differs from Keras' defaults, which `start` restores."""
    folder = runtime.keras_home()
    try:
        personal = json.loads((folder / "keras.json").read_text(encoding="utf-8"))
        differing = {name: personal[name] for name in KERAS_DEFAULTS if name in personal}
    except (OSError, ValueError, TypeError, AttributeError):
        return ""
    differing = {k: v for k, v in differing.items() if v != KERAS_DEFAULTS[k]}
    words = ", ".join(f"{name} {value}" for name, value in differing.items())
    return f"; a personal keras.json says {words}: the notebooks do not follow it" if words else ""


def _mnist() -> str:
    from hw4 import mnist

    return f"{len(mnist.load('train')[0]):,} training images, checksum right"


def _weights() -> str:
    """Verify the embedded ImageNet weights, and compare them with the official ones if here."""
    from hw4 import transfer
    from hw4.transfer import weights

    compared = []
    for name in transfer.BACKBONES:
        found = transfer.find(name)
        weights.read_embedded(found.path, found.digest)
        try:
            difference = weights.largest_difference(name)
            compared.append(f"{name} is off the official file by at most {difference:.4f}")
        except transfer.NotAvailable:
            compared.append(f"no official {name} to compare with")
    return "both embedded files, checksums right; " + ", ".join(compared)


CHECKS: dict[str, Callable[[], str]] = {
    "Python": _python,
    "packages": _packages,
    "settings": _settings,
    "backend": _backend,
    "MNIST": _mnist,
    "ImageNet weights": _weights,
}
