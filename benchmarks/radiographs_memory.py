"""Peak memory of reading radiographs, up to as many as GRAZPEDWRI-DX has, at the task's size.

    python benchmarks/radiographs_memory.py [counts]

Links 64 phantom files under as many names as are wanted; then a fresh process checks, splits and
streams all of them in batches of 64 at 224 pixels. That process may grow by a few KiB with each
further file, for its row of the table, which is less than any picture or file kept would take; and
its peak stays below 2 GB in any case.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _results import write
from hw4 import radiographs

COLUMNS = ("files", "seconds", "ms a file", "peak memory, MiB", "KiB a further file")
LIMIT = 2 * 1024**2  # KiB
LIMIT_A_FILE = 3  # KiB; a drawn file has 18, a picture of 224 pixels 147
READ = """
import resource, sys
from pathlib import Path
from hw4 import radiographs
data = radiographs.load(sys.argv[1])
train, test = data.split()
read = sum(len(images) for images, _, _ in data.batches(size=224, batch_size=64))
status = Path("/proc/self/status")
if status.exists():  # on Linux ru_maxrss remembers the process that started this one
    peak = int(status.read_text().split("VmHWM:")[1].split()[0])
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(read, peak, len(data.problems))
"""


def rows(counts=(2_000, 6_000, 20_327)):
    """One row a number of files, ascending; refuse a file that is left out, and a peak too high."""
    first = None
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            folder = many(Path(folder), count)
            start = time.perf_counter()
            answer = subprocess.run(
                [sys.executable, "-c", READ, folder], check=True, capture_output=True, text=True
            )
            seconds = time.perf_counter() - start
        read, peak, problems = map(int, answer.stdout.split())
        first = first or (count, peak)
        growth = (peak - first[1]) / max(1, count - first[0])
        if read != count or problems or peak >= LIMIT or growth >= LIMIT_A_FILE:
            raise AssertionError(
                f"all of {count} files must be read in {LIMIT} KiB, and in {LIMIT_A_FILE} KiB more "
                f"a further file; got {read}, {problems} kinds of problems, {peak} KiB and "
                f"{growth:.1f}. Read the table of problems, and look for what is kept."
            )
        sizes = f"{peak / 1024:.0f}", "" if count == first[0] else f"{growth:.2f}"
        yield [f"{count:,}", f"{seconds:.1f}", f"{1e3 * seconds / count:.2f}", *sizes]


def many(folder: Path, images: int) -> Path:
    """Return a folder with so many files, links to 64 drawn ones, and their table."""
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
    counts = [int(count) for count in sys.argv[1:]]
    table = list(rows(counts) if counts else rows())
    notes = (
        "A fresh process each, whose own peak is measured; the seconds include its start. The last "
        "column is the growth since the first row."
    )
    write("radiographs_memory.py", ("numpy",), table, COLUMNS, notes)
