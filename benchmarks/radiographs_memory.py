"""Peak memory of reading as many radiographs as GRAZPEDWRI-DX has, at the size the task wants.

python benchmarks/radiographs_memory.py [images]; draws 64 phantom files in a temporary folder and
links them under as many names as are wanted, then a fresh process checks, splits and streams all
of them in batches of 64 at 224 pixels.

Last shown:
2,000 phantom files read in 7 s, peak memory 129 MB
20,327 phantom files read in 55 s, peak memory 143 MB (2 cores, shared with other work)
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hw4 import radiographs

LIMIT = 2 * 1024  # MB
READ = """
import resource, sys
from hw4 import radiographs
data = radiographs.load(sys.argv[1])
train, test = data.split()
read = sum(len(images) for images, _, _ in data.batches(size=224, batch_size=64))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
peak /= 1024 ** 2 if sys.platform == "darwin" else 1024
print(read, round(peak), len(data.problems))
"""


def main(images: int) -> int:
    """Print one line; return 1 when the peak reaches 2 GB or an image is missing."""
    with tempfile.TemporaryDirectory() as folder:
        folder = _many(Path(folder), images)
        start = time.perf_counter()
        answer = subprocess.run(
            [sys.executable, "-c", READ, folder], check=True, capture_output=True, text=True
        )
        seconds = time.perf_counter() - start
    read, peak, problems = map(int, answer.stdout.split())
    print(f"{read:,} phantom files read in {seconds:.0f} s, peak memory {peak:,} MB")
    return 1 if peak >= LIMIT or read != images or problems else 0


def _many(folder: Path, images: int) -> Path:
    drawn = radiographs.load(radiographs.write_phantom(folder / "drawn", 64, seed=7, size=96))
    many = folder / "many"
    many.mkdir()
    rows = ["filestem,patient_id,fracture_visible"]
    for k in range(images):
        stem = f"{k // 3:05d}_phantom_{k % 3:02d}_WRI-L1"
        os.link(drawn.paths[k % len(drawn)], many / f"{stem}.png")
        rows.append(f"{stem},{k // 3},{k // 3 % 3 and 1}")
    (many / "dataset.csv").write_text("\n".join(rows), encoding="utf-8")
    return many


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_327))
