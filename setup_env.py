"""Make or mend `.venv`: the exact pins of requirements.txt and this package, nothing else.

Called by make with any Python 3.11 to 3.13. Standard library only. It can be interrupted at any
point and run again.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
SUPPORTED = ((3, 11), (3, 13))


def main() -> None:
    """Go through the steps; end with a message that says what to do when one fails."""
    oldest, newest = SUPPORTED
    if not oldest <= sys.version_info[:2] <= newest:
        sys.exit(
            f"Python must be 3.11 to 3.13; got {sys.version.split()[0]} ({sys.executable}). "
            "Install one of these, or name it: make PYTHON=python3.12 …"
        )
    make_venv()
    remove_half_installed()
    say("installing the pinned packages (about 3 GB on disk, one to five minutes)")
    pip("install", "-r", "requirements.txt")
    pip("install", "--no-deps", "--no-build-isolation", "-e", ".")
    use_headless_opencv_if_needed()
    say("set-up is complete")


def make_venv() -> None:
    """Create the virtual environment, anew if an interruption left one without a working pip."""
    if PYTHON.exists() and quiet(PYTHON, "-m", "pip", "--version").returncode == 0:
        return
    say(f"creating .venv with Python {sys.version.split()[0]}")
    shutil.rmtree(VENV, ignore_errors=True)
    made = quiet(sys.executable, "-m", "venv", VENV)
    if made.returncode:
        sys.exit(
            f"creating a virtual environment failed:\n{made.stdout}{made.stderr}\n"
            "On Debian and Ubuntu install it first: apt install "
            f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        )


def remove_half_installed() -> None:
    """Remove what an interrupted pip left: it writes RECORD last and trusts folders without it."""
    for folder in VENV.glob("**/site-packages/*.dist-info"):
        if not (folder / "RECORD").is_file():
            say(f"removing the unfinished {folder.name}")
            shutil.rmtree(folder)
    for folder in VENV.glob("**/site-packages/~*"):
        shutil.rmtree(folder, ignore_errors=True)


def use_headless_opencv_if_needed() -> None:
    """Swap in opencv-python-headless where the machine lacks the libraries of a screen."""
    tried = quiet(PYTHON, "-c", "import cv2")
    if tried.returncode == 0:
        return
    if "cannot open shared object file" not in tried.stderr:
        sys.exit(f"import cv2 failed:\n{tried.stderr}")
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").split()
    version = next(pin for pin in pins if pin.startswith("opencv-python==")).split("==")[1]
    say(f"this machine lacks a library of a screen ({tried.stderr.strip().splitlines()[-1]});")
    say(f"installing opencv-python-headless {version} instead of opencv-python {version}")
    pip("uninstall", "-y", "opencv-python")
    pip("install", "--no-deps", "--force-reinstall", f"opencv-python-headless=={version}")
    again = quiet(PYTHON, "-c", "import cv2")
    if again.returncode:
        sys.exit(f"import cv2 still fails:\n{again.stderr}")


def pip(*arguments: str) -> None:
    """Run pip in the environment; with its progress bar where a person watches."""
    talk = [] if sys.stdout.isatty() else ["-q"]
    command = [PYTHON, "-m", "pip", "--disable-pip-version-check", *arguments[:1], *talk]
    done = subprocess.run([*command, *arguments[1:]], cwd=ROOT)
    if done.returncode:
        sys.exit(f"pip failed ({' '.join(arguments)}). Mend the cause above and run make again.")


def quiet(*command) -> subprocess.CompletedProcess:
    """Run a command and keep what it prints."""
    return subprocess.run([str(part) for part in command], capture_output=True, text=True)


def say(text: str) -> None:
    """Print a line of set-up at once."""
    print(f"set-up: {text}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nset-up interrupted; run make again to go on")
