"""The reader: what it finds, what it reports, how it splits and what it streams."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from hw4 import radiographs
from hw4.radiographs import png as pngfile
from hw4.radiographs import splits

HEADER = "filestem,patient_id,fracture_visible\n"


def png(value=20_000, shape=(12, 10), dtype=np.uint16):
    pixels = np.full(shape, value, dtype)
    return cv2.imencode(".png", pixels)[1].tobytes()


def write(folder, rows, files=None, header=HEADER):
    """A folder with these (stem, label text) rows, and a good file each unless given."""
    lines = [f"{stem},1,{label}\n" for stem, label in rows]
    (folder / "dataset.csv").write_text(header + "".join(lines), encoding="utf-8")
    for name, content in (files or {f"{stem}.png": png() for stem, _ in rows}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


GOOD = [("0001_1_01", "1.0"), ("0001_1_02", ""), ("0002_1_01", "1"), ("0003_9_01", "0")]


def test_the_published_columns_become_labels_and_patients(tmp_path):
    data = radiographs.load(write(tmp_path, GOOD))
    assert data.stems.tolist() == [stem for stem, _ in GOOD]
    assert data.labels.tolist() == [1, 0, 1, 0]
    assert data.patients.tolist() == ["0001", "0001", "0002", "0003"]
    assert (data.source, data.problems, len(data)) == ("real", {}, 4)


def test_files_may_lie_in_the_four_published_parts(tmp_path):
    files = {f"images_part{k + 1}/{stem}.png": png() for k, (stem, _) in enumerate(GOOD)}
    data = radiographs.load(write(tmp_path, GOOD, files))
    assert len(data) == 4
    assert data.problems == {}
    assert [path.parent.name for path in data.paths] == [f"images_part{k}" for k in (1, 2, 3, 4)]


def test_a_byte_order_mark_other_columns_and_capital_extensions_are_no_obstacle(tmp_path):
    files = {f"{stem}.PNG": png() for stem, _ in GOOD}
    data = radiographs.load(write(tmp_path, GOOD, files, header="\ufeff" + HEADER))
    assert len(data) == 4


BROKEN = [
    ("missing file", [*GOOD, ("0009_1_01", "1")], {}, ["0009_1_01"]),
    ("unreadable", [*GOOD, ("0009_1_01", "1")], {"0009_1_01.png": b""}, ["0009_1_01"]),
    ("unreadable", [*GOOD, ("0009_1_01", "1")], {"0009_1_01.png": b"GIF89a"}, ["0009_1_01"]),
    ("unreadable", [*GOOD, ("0009_1_01", "1")], {"0009_1_01.png": png()[:-9]}, ["0009_1_01"]),
    ("unknown label", [*GOOD, ("0009_1_01", "maybe")], {"0009_1_01.png": png()}, ["0009_1_01"]),
    ("unknown label", [*GOOD, ("0009_1_01", "2")], {"0009_1_01.png": png()}, ["0009_1_01"]),
    ("unknown label", [*GOOD, ("0009_1_01", "nan")], {"0009_1_01.png": png()}, ["0009_1_01"]),
    ("missing filestem", [*GOOD, ("", "1")], {}, ["line 6"]),
    ("duplicate row", [*GOOD, GOOD[0]], {}, [GOOD[0][0]]),
    ("file without row", GOOD, {"0099_1_01.png": png()}, ["0099_1_01"]),
    ("duplicate file", GOOD, {f"images_part2/{GOOD[1][0]}.png": png()}, [GOOD[1][0]]),
]


@pytest.mark.parametrize(("kind", "rows", "extra", "names"), BROKEN)
def test_problems_are_named_and_strict_mode_stops_with_the_name(tmp_path, kind, rows, extra, names):
    files = {f"{stem}.png": png() for stem, _ in GOOD} | extra
    folder = write(tmp_path, rows, files)
    data = radiographs.load(folder)
    assert data.problems == {kind: names}
    assert data.stems.tolist() == [stem for stem, _ in GOOD]
    assert f"{kind}: 1 ({names[0]})" in data.summary()
    with pytest.raises(radiographs.DataError, match=f"{kind}: {names[0]}"):
        radiographs.load(folder, strict=True)


@pytest.mark.parametrize("order", [("1", "0"), ("0", "1"), ("1", ""), ("1", "x"), ("x", "1")])
def test_contradictory_rows_are_left_out_whatever_their_order(tmp_path, order):
    rows = [*GOOD, *(("0009_1_01", label) for label in order)]
    files = {f"{stem}.png": png() for stem, _ in rows}
    data = radiographs.load(write(tmp_path, rows, files))
    assert "0009_1_01" not in data.stems
    assert "0009_1_01" in {name for names in data.problems.values() for name in names}


def test_an_empty_class_is_reported(tmp_path):
    data = radiographs.load(write(tmp_path, [("1_1", "1"), ("2_1", "1")]))
    assert data.problems == {"empty class": ["0"]}
    train, test = data.split(test_share=0.5)
    assert len(train) == len(test) == 1


def test_without_a_table_or_its_columns_there_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.delenv("HW4_GRAZPEDWRI", raising=False)
    with pytest.raises(FileNotFoundError, match=r"folder must hold dataset\.csv; got None"):
        radiographs.load()
    with pytest.raises(FileNotFoundError, match="HW4_GRAZPEDWRI"):
        radiographs.load(tmp_path)
    (tmp_path / "dataset.csv").write_text("filestem,label\n", encoding="utf-8")
    with pytest.raises(ValueError, match="columns filestem and fracture_visible; got"):
        radiographs.load(tmp_path)


def test_the_environment_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HW4_GRAZPEDWRI", str(write(tmp_path, GOOD)))
    assert len(radiographs.load()) == 4


# --- pixels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 1, 128, 129, 257, 32_767, 32_896, 65_534, 65_535])
def test_sixteen_bits_become_eight_by_division_by_257(tmp_path, value):
    path = tmp_path / "a.png"
    path.write_bytes(png(value))
    pixels = pngfile.decode(path, 7)
    assert pixels.shape == (7, 7, 3)
    assert pixels.dtype == np.uint8
    assert set(pixels.ravel().tolist()) == {(2 * value + 257) // (2 * 257)}


def test_shrinking_averages_areas_and_eight_bit_files_are_taken_as_they_are(tmp_path):
    blocks = np.array([[10, 20], [200, 60]], np.uint8).repeat(4, 0).repeat(4, 1)
    blocks[0, 0] += 16
    path = tmp_path / "a.png"
    path.write_bytes(cv2.imencode(".png", blocks)[1].tobytes())
    pixels = pngfile.decode(path, 2)
    expected = [[blocks[r : r + 4, c : c + 4].mean() for c in (0, 4)] for r in (0, 4)]
    assert pixels[..., 0].tolist() == expected
    assert (pixels[..., 0] == pixels[..., 1]).all()
    assert (pixels[..., 0] == pixels[..., 2]).all()


def test_colour_files_and_missing_files_are_refused(tmp_path):
    path = tmp_path / "a.png"
    with pytest.raises(ValueError, match="path must be readable"):
        pngfile.decode(path, 8)
    path.write_bytes(png(9, (4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match=r"grey PNG; got shape \(4, 4, 3\)"):
        pngfile.decode(path, 8)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damage_of_a_file_is_noticed(data):
    whole = png(31_000, (9, 9))
    assert pngfile.damage(whole) is None
    if data.draw(st.booleans()):
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        position = data.draw(st.integers(0, len(whole) - 1))
        flipped = whole[position] ^ data.draw(st.integers(1, 255))
        damaged = whole[:position] + bytes([flipped]) + whole[position + 1 :]
    assert pngfile.damage(damaged) is not None


def test_pixels_that_do_not_inflate_are_noticed_behind_right_checksums(tmp_path):
    def chunk(kind, body):
        body = kind + body
        return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 8, 8, 16, 0, 0, 0, 0)
    path = tmp_path / "a.png"
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    path.write_bytes(content + chunk(b"IDAT", b"nonsense") + chunk(b"IEND", b""))
    with pytest.raises(ValueError, match="cannot be decoded"):
        pngfile.decode(path, 8)


# --- streaming -------------------------------------------------------------------------------


def graded(folder, n=11):
    rows = [(f"{k // 2:04d}_1_{k:02d}", str(k % 2)) for k in range(n)]
    return write(
        folder, rows, {f"{stem}.png": png(257 * (k + 1)) for k, (stem, _) in enumerate(rows)}
    )


def test_batches_cover_everything_once_in_order(tmp_path):
    data = radiographs.load(graded(tmp_path))
    parts = list(data.batches(size=5, batch_size=4))
    assert [len(images) for images, _, _ in parts] == [4, 4, 3]
    assert np.concatenate([positions for *_, positions in parts]).tolist() == list(range(11))
    assert [int(image.max()) for images, *_ in parts for image in images] == list(range(1, 12))
    assert np.concatenate([labels for _, labels, _ in parts]).tolist() == data.labels.tolist()
    assert data.images(5, [7, 2])[:, 0, 0, 0].tolist() == [8, 3]


def test_a_file_damaged_inside_is_left_out_of_its_batch_with_its_label(tmp_path):
    data = radiographs.load(graded(tmp_path))
    content = bytearray(data.paths[5].read_bytes())
    content[45] ^= 255
    data.paths[5].write_bytes(content)
    parts = list(data.batches(size=5, batch_size=4))
    assert [positions.tolist() for *_, positions in parts] == [[0, 1, 2, 3], [4, 6, 7], [8, 9, 10]]
    assert parts[1][1].tolist() == data.labels[[4, 6, 7]].tolist()
    assert data.problems == {"unreadable": [data.stems[5]]}
    list(data.batches(size=5))
    assert data.problems == {"unreadable": [data.stems[5]]}
    with pytest.raises(radiographs.DataError, match="1 unreadable of 11"):
        data.images(5)
    with pytest.raises(radiographs.DataError, match=f"unreadable: {data.stems[5]}"):
        list(radiographs.load(tmp_path, strict=True).batches(size=5))


@pytest.mark.parametrize(("name", "value"), [("size", 0), ("batch_size", 0), ("size", 2.5)])
def test_senseless_sizes_are_refused(tmp_path, name, value):
    data = radiographs.load(write(tmp_path, GOOD))
    with pytest.raises(ValueError, match=f"{name} must be a positive integer; got {value}"):
        next(data.batches(**{name: value}))


def test_the_digest_follows_names_and_contents(tmp_path):
    first = radiographs.load(graded(tmp_path)).digest
    assert radiographs.load(tmp_path).digest == first
    path = radiographs.load(tmp_path).paths[3]
    path.write_bytes(png(9))
    assert radiographs.load(tmp_path).digest != first


def test_boxes_are_read_and_other_classes_ignored(tmp_path):
    data = radiographs.load(write(tmp_path, GOOD))
    folder = tmp_path / "folder_structure/yolov5/labels"
    folder.mkdir(parents=True)
    (folder / f"{GOOD[0][0]}.txt").write_text("8 .1 .1 .1 .1\n3 0.5 0.25 0.2 0.1\n", "utf-8")
    assert data.boxes(0) == [(0.5, 0.25, 0.2, 0.1)]
    assert data.boxes(1) == []


# --- splits ----------------------------------------------------------------------------------


@st.composite
def patients_and_labels(draw):
    sizes = draw(st.lists(st.integers(1, 5), min_size=2, max_size=60))
    patients = np.repeat([f"{k:03d}" for k in range(len(sizes))], sizes)
    labels = draw(st.lists(st.integers(0, 1), min_size=len(patients), max_size=len(patients)))
    return patients, np.array(labels)


@settings(max_examples=150, deadline=None)
@given(patients_and_labels(), st.sampled_from([0.1, 0.2, 0.5, 0.9]), st.integers(0, 9))
def test_a_split_by_patient_keeps_patients_together(case, share, seed):
    patients, labels = case
    train, test = splits.split(labels, patients, "patient", share, seed)
    assert sorted([*train, *test]) == list(range(len(labels)))
    assert not set(patients[train]) & set(patients[test])
    assert len(train)
    assert len(test)
    assert splits.leakage(patients, train, test) == 0
    again = splits.split(labels, patients, "patient", share, seed)
    assert all((a == b).all() for a, b in zip((train, test), again, strict=True))


def test_a_split_by_patient_of_full_size_is_stratified_and_fair_in_views():
    rng = np.random.default_rng(5)
    views = rng.integers(1, 7, 6091)
    patients = np.repeat(np.arange(6091), views)
    labels = (rng.random(len(patients)) < np.repeat(rng.choice([0.05, 0.97], 6091), views)).astype(
        int
    )
    train, test = splits.split(labels, patients, seed=3)
    assert len(test) / len(labels) == pytest.approx(0.2, abs=0.001)
    assert labels[test].mean() == pytest.approx(labels[train].mean(), abs=0.002)
    # Neither side may collect the patients with many views.
    assert views[np.unique(patients[test])].mean() == pytest.approx(views.mean(), abs=0.25)
    other = splits.split(labels, patients, seed=4)[1]
    assert len(np.intersect1d(test, other)) < 0.4 * len(test)


@settings(max_examples=100, deadline=None)
@given(st.integers(20, 300), st.floats(0.2, 0.8), st.sampled_from([0.1, 0.2, 0.25, 0.5]))
def test_a_split_by_image_has_the_sizes_of_scikit_learn(n, fractured, share):
    labels = (np.arange(n) < round(fractured * n)).astype(int)
    train, test = splits.split(labels, np.zeros(n), "image", share)
    expected = train_test_split(np.arange(n), test_size=share, stratify=labels, random_state=0)
    assert (len(train), len(test)) == tuple(map(len, expected))
    assert abs(labels[test].sum() - labels[expected[1]].sum()) <= 1
    assert sorted([*train, *test]) == list(range(n))


def test_the_full_data_set_splits_as_reported():
    labels = np.repeat([1, 0], [13_550, 6_777])
    train, test = splits.split(labels, np.arange(20_327), "image")
    assert (len(train), len(test)) == (16_261, 4_066)


def test_splits_refuse_what_cannot_be_split():
    with pytest.raises(ValueError, match="by must be one of patient, image; got 'row'"):
        splits.split([0, 1], ["a", "b"], by="row")
    with pytest.raises(ValueError, match="test_share must be between 0 and 1; got 1"):
        splits.split([0, 1], ["a", "b"], test_share=1)
    with pytest.raises(ValueError, match="at least 2 patients to be split; got 1"):
        splits.split([0, 1], ["a", "a"])
