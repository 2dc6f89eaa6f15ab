"""`hw4 doctor`: check an installation part by part and say how to mend what is wrong."""

import platform
import re
from collections.abc import Callable
from importlib import metadata

from hw4 import runtime


def pins(text: str) -> dict[str, str]:
    """Read the exact pins of a requirements file.

    >>> pins("# a comment\\nkeras==3.15.1\\n")
    {'keras': '3.15.1'}
    """
    return dict(re.findall(r"(?m)^([A-Za-z0-9._-]+)==(\S+)", text))


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
    return f"Keras {found['versions']['keras']} on {found['backend']}, {found['device']}"


def _settings() -> str:
    for variable in ("HW4_WEIGHTS_DIR", "HW4_GRAZPEDWRI", "HW4_GAS"):
        runtime.path_setting(variable)
    return f"profile {runtime.profile()}"


def _mnist() -> str:
    from hw4 import mnist

    return f"{len(mnist.load('train')[0]):,} training images, checksum right"


CHECKS: dict[str, Callable[[], str]] = {
    "Python": _python,
    "packages": _packages,
    "settings": _settings,
    "backend": _backend,
    "MNIST": _mnist,
}
