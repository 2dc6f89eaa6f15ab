"""The phantom: the layout of the published data, drawn the same again, and not to be guessed."""

import csv
from collections import Counter

import cv2
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from hw4 import radiographs
from hw4.radiographs import drawing as wrist
from hw4.radiographs import phantom


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return radiographs.write_phantom(tmp_path_factory.mktemp("phantom"), 900, 7, size=96)


def rows_of(folder):
    with (folder / "dataset.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


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
    victim.unlink()
    radiographs.write_phantom(tmp_path, 6, 1, size=32)
    assert contents(folder) == before


def test_a_smaller_phantom_leaves_nothing_of_a_larger_one(tmp_path):
    radiographs.write_phantom(tmp_path, 12, 1, size=32)
    radiographs.write_phantom(tmp_path, 5, 1, size=32)
    data = radiographs.load(tmp_path)
    assert len(data) == 5
    assert data.problems == {}
    assert len(list(tmp_path.glob("*.png"))) == len(list((tmp_path / "labels").glob("*"))) == 5


def test_real_radiographs_are_never_overwritten(tmp_path):
    table = tmp_path / "dataset.csv"
    table.write_text("filestem,fracture_visible\n0001_1_01_WRI-L1_M011,\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"must not hold other radiographs; got .*Choose another"):
        radiographs.write_phantom(tmp_path, 3, 1, size=32)
    table.unlink()
    (tmp_path / "0001_1_01_WRI-L1_M011.png").write_bytes(b"x")
    with pytest.raises(ValueError, match="empty or a phantom's"):
        radiographs.write_phantom(tmp_path, 3, 1, size=32)
    assert (tmp_path / "0001_1_01_WRI-L1_M011.png").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, 1), "n must be an integer of at least 3; got 2"),
        ((3, -1), "seed must be an integer of at least 0; got -1"),
        ((3, 1, 31), "size must be an integer of at least 32; got 31"),
        ((True, 1), "n must be an integer of at least 3; got True"),
        ((3.0, 1), "n must be an integer of at least 3; got 3.0"),
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
        broken, box = wrist.draw([1, number], 1, True, 96)
        whole, none = wrist.draw([1, number], 1, False, 96)
        assert none is None
        x, y, w, h = (96 * value for value in box)
        difference = np.abs(broken.astype(float) - whole) / 65535
        # Above the fracture nothing may change: it bends the distal part alone.
        above = difference[: max(0, int(y - h / 2) - 3)]
        inside = difference[int(y - h / 2) : int(y + h / 2) + 1, int(x - w / 2) : int(x + w / 2)]
        assert above.max(initial=0) < 1e-4
        assert inside.max() > 0.05


def test_views_differ_and_mirrored_wrists_are_mirrored():
    (first, _), (second, _) = (wrist.draw([5, 1], view, False, 64) for view in (1, 2))
    assert (first != second).mean() > 0.9
    right, left = (wrist.draw([5, 1], 1, False, 64, side)[0] for side in (False, True))
    smooth = [cv2.GaussianBlur(image.astype(np.float32), (0, 0), 3) for image in (right, left)]
    centred = [image - image.mean() for image in (smooth[0][:, ::-1], smooth[0], smooth[1])]
    flipped, same = ((centred[k] * centred[2]).sum() for k in (0, 1))
    assert flipped > same


def test_no_histogram_of_grey_levels_beats_the_majority(drawn):
    data = radiographs.load(drawn)
    grey = data.images(96)[..., 0]
    train, test = data.split(seed=7)
    for bins in (8, 16, 32):
        counts = [
            np.bincount(image.ravel().astype(int) * bins // 256, minlength=bins) for image in grey
        ]
        features = StandardScaler().fit_transform(np.array(counts) / 96**2)
        model = LogisticRegression(max_iter=3000, C=0.1).fit(features[train], data.labels[train])
        share = max(data.labels[test].mean(), 1 - data.labels[test].mean())
        assert model.score(features[test], data.labels[test]) <= share + 0.03
