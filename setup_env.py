"""Make or mend `.venv`: the exact pins of requirements.txt and this package, nothing else.

Called by make with any Python 3.11 to 3.13, and by people without make. Standard library only. It
can be interrupted at any point, moved, run twice at once, and run again; when everything is as it
should be it ends at once.
"""

import contextlib
import csv
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
SUPPORTED = ((3, 11), (3, 13))
# What a first notebook does, so that what is installed is known to work and not only to be there.
TRIAL = (
    "import cv2, numpy, tensorflow, keras;"
    "cv2.resize(numpy.zeros((4, 4), 'uint8'), (2, 2));"
    "tensorflow.reduce_sum(tensorflow.ones(3));"
    "keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])"
)


def main() -> None:
    """Go through the steps; end with a message that says what to do when one fails."""
    oldest, newest = SUPPORTED
    if not oldest <= sys.version_info[:2] <= newest:
        sys.exit(
            f"Python must be 3.11 to 3.13; got {sys.version.split()[0]} ({sys.executable}). "
            "Install one of these, or name it: make PYTHON=python3.12 …"
        )
    if is_ready():
        return
    with alone():
        if is_ready():  # another make has done it while this one waited
            return
        stamp().unlink(missing_ok=True)
        make_venv()
        mend_after_a_move()
        remove_unfinished()
        say("installing the pinned packages (about 3 GB on disk, one to five minutes)")
        pip("install", "-r", "requirements.txt", *gpu_requirements())
        pip("install", "--no-deps", "--no-build-isolation", "-e", ".")
        use_headless_opencv_if_needed()
        try_out()
        # Written last, so that an interrupted set-up is taken up again.
        stamp().write_text(wanted_stamp(), encoding="utf-8")
        say("set-up is complete")


def python() -> Path:
    """Return the environment's own Python."""
    return VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def stamp() -> Path:
    """Return the file that says for what, where and by which Python set-up was completed."""
    return VENV / "ready"


def wanted_stamp() -> str:
    """Return what the stamp must say: place, Python, pins, and whether a GPU is used."""
    files = [(ROOT / name).read_bytes() for name in ("requirements.txt", "pyproject.toml")]
    pins = hashlib.sha256(b"\0".join(files)).hexdigest()
    gpu = "gpu" if gpu_requirements() else "cpu"
    return "\n".join([str(VENV), ".".join(map(str, sys.version_info[:3])), pins, gpu, ""])


def is_ready() -> bool:
    """Say whether set-up was completed here, by this Python, for these pins."""
    try:
        return stamp().read_text(encoding="utf-8") == wanted_stamp() and python().exists()
    except (OSError, UnicodeDecodeError):
        return False


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let one set-up at a time work on this checkout; a second one waits for the first."""
    try:
        import fcntl
    except ImportError:  # Windows, where nobody runs two makes
        yield
        return
    with (ROOT / ".venv.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another set-up of this checkout")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_venv() -> None:
    """Create the virtual environment, anew if it has no working pip or is another Python's."""
    version = "import sys, pip; print('.'.join(map(str, sys.version_info[:3])))"
    found = quiet(python(), "-c", version) if python().exists() else None
    mine = sys.version.split()[0]
    if found and found.returncode == 0 and found.stdout.strip() == mine:
        return
    say(f"creating .venv with Python {mine}")
    shutil.rmtree(VENV, ignore_errors=True)
    made = quiet(sys.executable, "-m", "venv", VENV)
    if made.returncode:
        sys.exit(
            f"creating a virtual environment failed:\n{made.stdout}{made.stderr}\n"
            "On Debian and Ubuntu install it first: apt install "
            f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        )


def mend_after_a_move() -> None:
    """Point the environment's scripts at where it lies now: their heads name its Python."""
    folder = python().parent
    here = str(folder).encode()
    for script in folder.iterdir():
        if script.is_symlink() or not script.is_file():
            continue
        content = script.read_bytes()
        if not content.startswith(b"#!"):
            continue
        # two lines, since a path too long for the system is called through the shell
        head = b"\n".join(content.split(b"\n", 2)[:2])
        moved = re.sub(rb"/[^\n\"]*/\.venv/bin(?=/python)", lambda _: here, head)
        if moved != head:
            script.write_bytes(moved + content[len(head) :])


def remove_unfinished() -> None:
    """Remove what an interrupted pip left, which pip itself would take for installed.

    pip unpacks a wheel with the wheel's own RECORD and adds INSTALLER at the end, so a folder
    without INSTALLER is unfinished; and whatever RECORD lists must be there.
    """
    for site in VENV.glob("**/site-packages"):
        for folder in site.glob("*.dist-info"):
            if missing := first_missing(site, folder):
                say(f"removing the unfinished {folder.name} ({missing} is missing)")
                shutil.rmtree(folder)
        for folder in site.glob("~*"):
            shutil.rmtree(folder, ignore_errors=True)


def first_missing(site: Path, folder: Path) -> str | None:
    """Name the first file that an installed distribution lacks, None when it is whole."""
    for name in ("INSTALLER", "METADATA", "RECORD"):
        if not (folder / name).is_file():
            return name
    record = (folder / "RECORD").read_text(encoding="utf-8", errors="replace")
    names = [row[0] for row in csv.reader(record.splitlines()) if row] if "\0" not in record else []
    if f"{folder.name}/RECORD" not in names:
        return "the end of RECORD"  # a loss of power may leave it empty, cut off or full of zeros
    # compiled files may be cleared away and come back
    sources = (name for name in names if not name.endswith(".pyc"))
    return next((name for name in sources if not os.path.exists(os.path.join(site, name))), None)


def gpu_requirements() -> list[str]:
    """Return what pip must add for an NVIDIA card: TensorFlow's own pin with its CUDA libraries.

    `HW4_GPU=0` refuses it and `HW4_GPU=1` insists; otherwise `nvidia-smi` is asked.

    Raises:
        SystemExit: another value of `HW4_GPU`.
    """
    choice = os.environ.get("HW4_GPU", "")
    if choice not in ("", "0", "1"):
        sys.exit(f"HW4_GPU must be 0, 1 or unset; got {choice!r}. Unset it to let set-up look.")
    if choice == "0" or not (choice or has_nvidia_card()):
        return []
    return [f"tensorflow[and-cuda]=={pin('tensorflow')}"]


def has_nvidia_card() -> bool:
    """Say whether `nvidia-smi` is there and lists a card."""
    program = shutil.which("nvidia-smi")
    if program is None or sys.platform == "win32":  # no CUDA build of TensorFlow for Windows
        return False
    try:
        listed = quiet(program, "-L", timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listed.returncode == 0 and "GPU 0" in listed.stdout


def pin(name: str) -> str:
    """Return the version of a package in requirements.txt."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").split()
    return next(line for line in lines if line.startswith(f"{name}==")).split("==")[1]


def use_headless_opencv_if_needed() -> None:
    """Swap in opencv-python-headless where the machine lacks the libraries of a screen."""
    tried = quiet(python(), "-c", "import cv2")
    if tried.returncode == 0:
        return
    if "cannot open shared object file" not in tried.stderr:
        sys.exit(f"import cv2 failed:\n{tried.stderr}")
    version = pin("opencv-python")
    say(f"this machine lacks a library of a screen ({tried.stderr.strip().splitlines()[-1]});")
    say(f"installing opencv-python-headless {version} instead of opencv-python {version}")
    pip("uninstall", "-y", "opencv-python")
    pip("install", "--no-deps", "--force-reinstall", f"opencv-python-headless=={version}")
    again = quiet(python(), "-c", "import cv2")
    if again.returncode:
        sys.exit(f"import cv2 still fails:\n{again.stderr}")


def try_out() -> None:
    """Use what was installed once, so that a broken package is found now and not in a notebook."""
    tried = quiet(python(), "-c", TRIAL)
    if tried.returncode:
        sys.exit(
            f"the installed packages do not work:\n{tried.stderr.strip()[-2000:]}\n"
            "Delete .venv (make clean) and run make again."
        )


def pip(*arguments: str) -> None:
    """Run pip in the environment; with its progress bar where a person watches."""
    talk = [] if sys.stdout.isatty() else ["-q"]
    command = [python(), "-m", "pip", "--disable-pip-version-check", *arguments[:1], *talk]
    done = subprocess.run([*command, *arguments[1:]], cwd=ROOT)
    if done.returncode:
        sys.exit(f"pip failed ({' '.join(arguments)}). Mend the cause above and run make again.")


def quiet(*command, timeout: float | None = None) -> subprocess.CompletedProcess:
    """Run a command and keep what it prints."""
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=timeout
    )


def say(text: str) -> None:
    """Print a line of set-up at once."""
    print(f"set-up: {text}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nset-up interrupted; run make again to go on")
