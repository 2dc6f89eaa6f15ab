"""The phantom: the layout of the published data, drawn the same again, and not to be guessed."""

import csv
import hashlib
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from hw4 import radiographs, runtime
from hw4.radiographs import drawing, phantom

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return radiographs.write_phantom(tmp_path_factory.mktemp("phantom"), 900, 7, size=96)


def rows_of(folder):
    with (folder / "dataset.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_layout_is_that_of_the_published_data(drawn):
    rows = rows_of(drawn)
    assert len(rows) == 900
    assert {row["fracture_visible"] for row in rows} == {"1.0", ""}
    assert {row["filestem"] for row in rows} == {path.stem for path in drawn.glob("*.png")}
    for row in rows[:50]:
        assert int(row["filestem"].split("_")[0]) == int(row["patient_id"])
        pixels = cv2.imread(str(drawn / f"{row['filestem']}.png"), cv2.IMREAD_UNCHANGED)
        assert pixels.dtype == np.uint16
        assert pixels.shape == (96, 96)
        assert pixels.max() > 255 * 100


def test_two_thirds_are_fractured_and_patients_have_several_views(drawn):
    rows = rows_of(drawn)
    assert sum(bool(row["fracture_visible"]) for row in rows) == pytest.approx(600, abs=4)
    views = Counter(row["patient_id"] for row in rows)
    assert set(views.values()) == {1, 2, 3, 4}
    assert 1.5 < np.mean(list(views.values())) < 3


def test_every_name_says_phantom(drawn):
    assert all("phantom" in row["filestem"] for row in rows_of(drawn))
    assert radiographs.load(drawn).source == "phantom"


def test_equal_arguments_draw_equal_files_and_another_seed_others(tmp_path):
    folders = [
        radiographs.write_phantom(tmp_path / name, 9, seed, size=48)
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    ]
    first, second, other = map(contents, folders)
    assert first == second
    assert first != other
    assert len(set(first.values())) > 9


def test_a_complete_folder_is_left_alone_and_an_incomplete_one_mended(tmp_path):
    folder = radiographs.write_phantom(tmp_path, 6, 1, size=32)
    before, victim = contents(folder), sorted(folder.glob("*.png"))[2]
    stamp = victim.stat().st_mtime_ns
    radiographs.write_phantom(tmp_path, 6, 1, size=32)
    assert victim.stat().st_mtime_ns == stamp
    for name in (victim.name, f"labels/{victim.stem}.txt", "fractures.csv", "dataset.csv"):
        (folder / name).unlink()
        radiographs.write_phantom(tmp_path, 6, 1, size=32)
        assert radiographs.load(folder).problems == {}
        assert contents(folder).keys() == before.keys()
        assert contents(folder)[name] == before[name]


def test_a_smaller_phantom_leaves_nothing_of_a_larger_one(tmp_path):
    radiographs.write_phantom(tmp_path / "large", 12, 1, size=32)
    radiographs.write_phantom(tmp_path / "large", 5, 1, size=32)
    radiographs.write_phantom(tmp_path / "small", 5, 1, size=32)
    assert contents(tmp_path / "large") == contents(tmp_path / "small")


def test_a_run_that_was_killed_is_taken_up_again(tmp_path, monkeypatch):
    whole = contents(radiographs.write_phantom(tmp_path / "whole", 9, 1, size=32))
    write, left = runtime.write_whole, [10]

    def dying(path, content, durable=True):
        left[0] -= 1
        if not left[0]:
            # what kill -9 leaves: the file's partial, and no time to remove it
            (path.parent / f".{path.name}.k1ll3d.partial").write_bytes(content[:7])
            raise KeyboardInterrupt
        return write(path, content, durable)

    monkeypatch.setattr(runtime, "write_whole", dying)
    with pytest.raises(KeyboardInterrupt):
        radiographs.write_phantom(tmp_path / "killed", 9, 1, size=32)
    assert not (tmp_path / "killed/dataset.csv").exists()
    monkeypatch.undo()
    radiographs.write_phantom(tmp_path / "killed", 9, 1, size=32)
    after = contents(tmp_path / "killed")
    assert {name for name in after if not name.endswith(".partial")} == set(whole)
    assert all(after[name] == whole[name] for name in whole if name != "phantom.sha256")


def test_two_processes_may_write_the_same_phantom_at_once(tmp_path):
    whole = contents(radiographs.write_phantom(tmp_path / "alone", 9, 1, size=32))
    with ThreadPoolExecutor(4) as pool:
        again = [
            pool.submit(radiographs.write_phantom, tmp_path / "four", 9, 1, size=32)
            for _ in range(4)
        ]
    assert all(done.result() == tmp_path / "four" for done in again)
    del whole["phantom.sha256"]
    assert {name: contents(tmp_path / "four")[name] for name in whole} == whole


def test_the_manifest_is_what_sha256sum_checks(drawn):
    lines = (drawn / "phantom.sha256").read_text("utf-8").splitlines()
    assert lines[0] == "# phantom v3 n 900 seed 7 size 96 finest 0.2"
    sums = dict(reversed(line.split("  ")) for line in lines[1:])
    found = {path.relative_to(drawn).as_posix() for path in drawn.rglob("*") if path.is_file()}
    assert set(sums) == found - {"phantom.sha256"}
    for name in ("dataset.csv", "fractures.csv", sorted(sums)[7]):
        assert sums[name] == hashlib.sha256((drawn / name).read_bytes()).hexdigest()


STRANGERS = {
    "a table that says phantom": ("dataset.csv", "filestem,fracture_visible\nmy_phantom_1,1\n"),
    "a real table": ("dataset.csv", "filestem,fracture_visible\n0001_1_01_WRI-L1_M011,\n"),
    "an image": ("0001_1_01_WRI-L1_M011.png", "x"),
    "an image that says phantom": ("0001_phantom_01_WRI-R1.png", "x"),
    "a label": ("labels/0001_phantom_01_WRI-R1.txt", "3 .5 .5 .1 .1\n"),
    "notes": ("notes.md", "what I saw"),
    "a hidden file": (".notes", "what I saw"),
    "a file in a folder": ("mine/deep/notes.md", "what I saw"),
    "another's partial": (".other.png.abc.partial", "what I saw"),
    "a manifest of another kind": ("phantom.sha256", "0  dataset.csv\n"),
}


@pytest.mark.parametrize("kind", STRANGERS)
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside a phantom"])
def test_what_no_phantom_wrote_is_never_touched(tmp_path, kind, beside):
    name, text = STRANGERS[kind]
    if beside:
        radiographs.write_phantom(tmp_path, 6, 1, size=32)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text, encoding="utf-8")
    before = contents(tmp_path)
    for n in (6, 3):
        with pytest.raises(ValueError, match=r"own files alone; got .*Choose another folder"):
            radiographs.write_phantom(tmp_path, n, 1, size=32)
    assert contents(tmp_path) == before


def test_a_link_into_other_data_is_not_followed(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "keep.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/labels").symlink_to(other)
    with pytest.raises(ValueError, match="got labels in"):
        radiographs.write_phantom(tmp_path / "folder", 3, 1, size=32)
    assert contents(other) == {"keep.txt": b"mine"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, 1), "n must be an integer of at least 3; got 2"),
        ((3, -1), "seed must be an integer of at least 0; got -1"),
        ((3, 1, 31), "size must be an integer of at least 32; got 31"),
        ((True, 1), "n must be an integer of at least 3; got True"),
        ((3.0, 1), "n must be an integer of at least 3; got 3.0"),
        ((3, 1, 32, 0), "finest must be above 0 and at most 1; got 0. Try 0.2"),
        ((3, 1, 32, 1.5), "finest must be above 0 and at most 1; got 1.5"),
        ((3, 1, 32, True), "finest must be above 0 and at most 1; got True"),
        ((3, 1, 32, float("nan")), "finest must be above 0 and at most 1; got nan"),
    ],
)
def test_senseless_arguments_are_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        radiographs.write_phantom(tmp_path, *arguments)


@pytest.mark.parametrize("n", [3, 4, 5, 7, 11, 50])
def test_small_phantoms_have_both_classes(n):
    plan = phantom._plan(n, seed=n)
    assert len(plan) == n
    assert {fractured for _, _, fractured in plan} == {True, False}
    assert len({patient for patient, _, _ in plan}) >= 2


def test_a_fracture_changes_its_place_and_little_else():
    for number in range(8):
        broken, seen = drawing.draw([1, number], 1, True, 96)
        whole, none = drawing.draw([1, number], 1, False, 96)
        assert none is None
        x, y, w, h = (96 * value for value in seen.box)
        difference = np.abs(broken.astype(float) - whole) / 65535
        # Above the fracture nothing may change: it bends the distal part alone.
        above = difference[: max(0, int(y - h / 2) - 3)]
        inside = difference[int(y - h / 2) : int(y + h / 2) + 1, int(x - w / 2) : int(x + w / 2)]
        assert above.max(initial=0) < 1e-4
        assert inside.max() > 0.05


POSE = np.eye(2, 3)  # as the wrist lies


def with_and_without(number, finest, size, **changed):
    """What reaches the plate from one wrist with its fracture and without; and the fracture."""
    broken = drawing._anatomy(np.random.default_rng([4, number]), True, finest)
    broken = replace(broken, fracture=replace(broken.fracture, bend=0.0, **changed))
    whole = replace(broken, fracture=None)
    light = [drawing._light(anatomy, POSE, size, 1.0) for anatomy in (broken, whole)]
    return *light, broken


@pytest.mark.parametrize("finest", [1.0, 0.3, 0.1])
@pytest.mark.parametrize("size", [96, 224])
def test_a_gap_in_the_picture_is_as_wide_as_the_table_says(finest, size):
    # Blur moves light along the bone but loses none: what is missing along a line on the bone's
    # axis, over the contrast of the marrow, is the gap's width in pixels, however fine.
    told, seen = [], []
    for number in range(30):
        broken, whole, anatomy = with_and_without(number, finest, size, shift=0.0)
        fracture = drawing._seen(anatomy, POSE)
        x, y = (int(size * value) for value in fracture.box[:2])
        missing = (whole - broken)[y - size // 8 : y + size // 8, x].sum()
        seen.append(missing / (anatomy.brightness[0] - 0.24))
        told.append(fracture.gap * size)
    error = np.array(seen) - told
    assert np.abs(error).max() < 0.1
    assert np.abs(error.mean()) < 0.02
    assert min(told) < finest * 1.3 * size / 96


@pytest.mark.parametrize("finest", [1.0, 0.1])
def test_the_distal_part_is_shifted_as_the_table_says(finest):
    size = 224
    for number in range(20):
        # where the bone is straight, so that its middle moves as it does
        broken, whole, anatomy = with_and_without(number, finest, size, y=0.36, slope=0.2)
        fracture = drawing._seen(anatomy, POSE)
        x, y, width = (int(size * fracture.box[k]) for k in (0, 1, 2))
        row, columns = y + size // 24, np.arange(x - width // 2 - 3, x + width // 2 + 3)
        places = [
            np.average(columns, weights=np.clip(light[row, columns] - 0.24, 0, 1))
            for light in (broken, whole)
        ]
        assert abs(places[0] - places[1]) == pytest.approx(fracture.shift * size, abs=0.06)


def test_fractures_go_from_clearly_visible_down_to_hairlines(drawn):
    data = radiographs.load(drawn)
    table = data.fractures(size=96)
    broken = table[data.labels == 1]
    assert table.index.tolist() == data.stems.tolist()
    assert table[data.labels == 0].isna().all(axis=None)
    assert broken.notna().all(axis=None)
    assert broken.gap_pixels.min() < 0.25
    assert broken.gap_pixels.max() > 1.1
    # as many patients below the middle of the range, in octaves, as above it
    per_patient = broken.gap.groupby(data.patients[data.labels == 1]).mean()
    middle = np.sqrt(0.2) * np.sqrt(0.008 * 0.014)
    assert np.mean(per_patient < middle) == pytest.approx(0.5, abs=0.08)
    np.testing.assert_allclose(data.fractures(224).shift_pixels, table["shift"] * 224)


def test_the_coarsest_phantom_has_no_hairlines(tmp_path):
    folder = radiographs.write_phantom(tmp_path, 60, 7, size=32, finest=1.0)
    assert radiographs.load(folder).fractures(96).gap_pixels.min() > 0.7


def test_views_of_one_patient_show_the_same_fracture_at_their_own_scale(drawn):
    data = radiographs.load(drawn)
    gaps = data.fractures().gap[data.labels == 1]
    groups = gaps.groupby(data.patients[data.labels == 1])
    spread = groups.max() / groups.min()
    assert spread.max() < 1.021
    assert (spread > 1).sum() > 50


def test_nothing_is_known_of_real_fractures(tmp_path):
    (tmp_path / "dataset.csv").write_text("filestem,fracture_visible\n1_1,1\n", encoding="utf-8")
    (tmp_path / "1_1.png").write_bytes(cv2.imencode(".png", np.zeros((4, 4), np.uint16))[1])
    assert radiographs.load(tmp_path).fractures().isna().all(axis=None)


def test_views_differ_and_mirrored_wrists_are_mirrored():
    (first, _), (second, _) = (drawing.draw([5, 1], view, False, 64) for view in (1, 2))
    assert (first != second).mean() > 0.9
    right, left = (drawing.draw([5, 1], 1, False, 64, side)[0] for side in (False, True))
    smooth = [cv2.GaussianBlur(image.astype(np.float32), (0, 0), 3) for image in (right, left)]
    centred = [image - image.mean() for image in (smooth[0][:, ::-1], smooth[0], smooth[1])]
    flipped, same = ((centred[k] * centred[2]).sum() for k in (0, 1))
    assert flipped > same


@pytest.mark.parametrize("kind", ["all", "coarse", "fine"])
def test_no_histogram_of_grey_levels_beats_the_majority(drawn, kind):
    data = radiographs.load(drawn)
    grey = data.images(96)[..., 0]
    gap = data.fractures(96).gap_pixels.to_numpy()
    chosen = {"all": gap > 0, "coarse": gap > 0.6, "fine": gap <= 0.6}[kind] | (data.labels == 0)
    train, test = (part[chosen[part]] for part in data.split(seed=7))
    for bins in (8, 16, 32):
        counts = [
            np.bincount(image.ravel().astype(int) * bins // 256, minlength=bins) for image in grey
        ]
        features = StandardScaler().fit_transform(np.array(counts) / 96**2)
        model = LogisticRegression(max_iter=3000, C=0.1).fit(features[train], data.labels[train])
        share = max(data.labels[test].mean(), 1 - data.labels[test].mean())
        assert model.score(features[test], data.labels[test]) <= share + 0.03
        scores = model.decision_function(features[test])
        assert roc_auc_score(data.labels[test], scores) == pytest.approx(0.5, abs=0.15)


def test_few_images_are_drawn_ahead_of_their_use(monkeypatch):
    begun = []
    monkeypatch.setattr(phantom, "draw", lambda *image: begun.append(image))
    images = phantom._drawn(900, 7, 32, 0.2)
    next(images)
    time.sleep(0.2)  # for threads that would go on
    images.close()
    assert 1 <= len(begun) <= 32
