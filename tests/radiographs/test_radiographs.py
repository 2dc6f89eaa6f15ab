"""The reader: what it finds, what it reports, how it splits and what it streams."""

import os
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.model_selection import train_test_split

from hw4 import radiographs
from hw4.radiographs import annotations, files, splits

HEADER = "filestem,patient_id,fracture_visible\n"


def png(value=20_000, shape=(12, 10), dtype=np.uint16):
    pixels = np.full(shape, value, dtype)
    return cv2.imencode(".png", pixels)[1].tobytes()


def write(folder, rows, files=None, header=HEADER):
    """A folder with these (stem, label text) rows, and a good file each unless given."""
    lines = [f"{stem},{stem.split('_')[0]},{label}\n" for stem, label in rows]
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
    assert data.images(8).shape == (4, 8, 8, 3)
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
    with pytest.raises(
        ValueError, match="columns filestem and fracture_visible, once each; got filestem, label"
    ):
        radiographs.load(tmp_path)


def test_the_environment_names_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HW4_GRAZPEDWRI", str(write(tmp_path, GOOD)))
    assert len(radiographs.load()) == 4


# --- pixels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 1, 128, 129, 257, 32_767, 32_896, 65_534, 65_535])
def test_sixteen_bits_become_eight_by_division_by_257(tmp_path, value):
    path = tmp_path / "a.png"
    path.write_bytes(png(value))
    pixels = files.decode(path, 7)
    assert pixels.shape == (7, 7, 3)
    assert pixels.dtype == np.uint8
    assert set(pixels.ravel().tolist()) == {(2 * value + 257) // (2 * 257)}


def test_shrinking_averages_areas_and_eight_bit_files_are_taken_as_they_are(tmp_path):
    blocks = np.array([[10, 20], [200, 60]], np.uint8).repeat(4, 0).repeat(4, 1)
    blocks[0, 0] += 16
    path = tmp_path / "a.png"
    path.write_bytes(cv2.imencode(".png", blocks)[1].tobytes())
    pixels = files.decode(path, 2)
    expected = [[blocks[r : r + 4, c : c + 4].mean() for c in (0, 4)] for r in (0, 4)]
    assert pixels[..., 0].tolist() == expected
    assert (pixels[..., 0] == pixels[..., 1]).all()
    assert (pixels[..., 0] == pixels[..., 2]).all()


def encode(pixels):
    return cv2.imencode(".png", pixels)[1].tobytes()


def colour(grey, dtype, last=None):
    """Three equal channels of a ramp, with an opaque or other fourth where wanted."""
    most = np.iinfo(dtype).max
    ramp = np.linspace(0, most, 16).astype(dtype).reshape(4, 4)
    channels = [ramp, ramp, ramp] + ([] if last is None else [np.full_like(ramp, last)])
    return ramp if grey else np.stack(channels, 2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("opaque", [False, True])
def test_colour_copies_of_grey_images_are_read_as_the_grey_ones(tmp_path, dtype, opaque):
    grey, copy = tmp_path / "grey.png", tmp_path / "copy.png"
    grey.write_bytes(encode(colour(True, dtype)))
    copy.write_bytes(encode(colour(False, dtype, np.iinfo(dtype).max if opaque else None)))
    np.testing.assert_array_equal(files.decode(copy, 7), files.decode(grey, 7))


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "LA", "RGB"])
def test_every_kind_of_grey_png_reads_as_another_library_reads_it(tmp_path, mode):
    ramp = np.linspace(0, 255, 64).astype(np.uint8).reshape(8, 8)
    picture = Image.fromarray(ramp)
    if mode == "I;16":
        picture = Image.fromarray(ramp.astype(np.uint16) * 257)
    elif mode == "P":
        picture = picture.convert("RGB").quantize(64)
    elif mode != "L":
        picture = picture.convert(mode)
    picture.save(tmp_path / "a.png")
    expected = np.asarray(picture.convert("L")) if mode != "I;16" else ramp
    np.testing.assert_array_equal(files.decode(tmp_path / "a.png", 8)[..., 0], expected)


def test_coloured_transparent_and_missing_files_are_refused(tmp_path):
    path = tmp_path / "a.png"
    with pytest.raises(ValueError, match="path must be readable; got no such file"):
        files.decode(path, 8)
    pixels = colour(False, np.uint8)
    pixels[1, 2, 0] ^= 1
    path.write_bytes(encode(pixels))
    with pytest.raises(ValueError, match="grey PNG; got colours in 1 of 16 pixels"):
        files.decode(path, 8)
    path.write_bytes(encode(colour(False, np.uint8, 254)))
    with pytest.raises(ValueError, match="got one that is transparent in places"):
        files.decode(path, 8)


def test_an_image_whose_every_copy_is_coloured_is_named_and_not_skipped_in_silence(tmp_path):
    pixels = colour(False, np.uint8)
    pixels[0, 0, 0] = 9
    data = radiographs.load(write(tmp_path, GOOD, {f"{s}.png": encode(pixels) for s, _ in GOOD}))
    message = "at least one readable file; got 4 unreadable ones: 0001_1_01, 0001_1_02"
    with pytest.raises(radiographs.DataError, match=message):
        list(data.batches(size=8))
    with pytest.raises(radiographs.DataError, match="got 2 unreadable ones"):
        data.images(8, [1, 2])
    assert data.problems["unreadable"] == [stem for stem, _ in GOOD]


@settings(max_examples=60)
@given(st.data())
def test_any_damage_of_a_file_is_noticed(data):
    whole = png(31_000, (9, 9))
    assert files.damage(whole) is None
    if data.draw(st.booleans()):
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        position = data.draw(st.integers(0, len(whole) - 1))
        flipped = whole[position] ^ data.draw(st.integers(1, 255))
        damaged = whole[:position] + bytes([flipped]) + whole[position + 1 :]
    assert files.damage(damaged) is not None


def chunk(kind, body):
    body = kind + body
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def by_hand(width, height, pixels=b"nonsense"):
    """A PNG file with right checksums that declares this size."""
    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_pixels_that_do_not_inflate_are_noticed_behind_right_checksums(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(by_hand(8, 8))
    with pytest.raises(ValueError, match="cannot be decoded"):
        files.decode(path, 8)


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (2**31 - 1, 1), (6000, 6000)])
def test_a_file_that_declares_too_many_pixels_is_not_decoded(tmp_path, monkeypatch, width, height):
    black = zlib.compress(bytes(2 * 30_001 * 200), 9)
    rows = {f"{stem}.png": png() for stem, _ in GOOD}
    data = radiographs.load(write(tmp_path, GOOD, rows))
    data.paths[1].write_bytes(by_hand(width, height, black))
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ValueError, match=f"got {width:,} x {height:,} pixels, more than 33,554,43"):
        files.decode(data.paths[1], 8)
    assert radiographs.load(tmp_path).problems == {"unreadable": [GOOD[1][0]]}


@pytest.mark.parametrize(("width", "height"), [(0, 4), (4, 0)])
def test_a_file_without_pixels_is_damaged(tmp_path, width, height):
    (tmp_path / "a.png").write_bytes(by_hand(width, height))
    with pytest.raises(ValueError, match="no header with a size"):
        files.decode(tmp_path / "a.png", 8)


def test_files_beyond_the_bound_are_not_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES", 100)
    path = tmp_path / "a.png"
    path.write_bytes(png(shape=(30, 30)) + bytes(200))
    assert files.ends_problem(path)[0] == "unreadable"
    assert "bytes, more than 100" in files.ends_problem(path)[1]
    with pytest.raises(ValueError, match="at most 100 bytes; got 3"):
        files.read(path, 100)


def test_bytes_after_the_end_are_named_and_the_picture_is_kept(tmp_path):
    rows = {f"{stem}.png": png(257 * k) for k, (stem, _) in enumerate(GOOD)}
    rows[f"{GOOD[2][0]}.png"] += b"appended by a viewer"
    folder = write(tmp_path, GOOD, rows)
    data = radiographs.load(folder)
    assert data.problems == {"bytes after the end": [GOOD[2][0]]}
    assert data.images(4)[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert files.ends_problem(data.paths[2])[1] == "20 bytes after the picture's end"
    with pytest.raises(radiographs.DataError, match=f"bytes after the end: {GOOD[2][0]}"):
        radiographs.load(folder, strict=True)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link to nothing"])
def test_what_is_no_regular_file_is_named_and_never_opened(tmp_path, kind):
    data = radiographs.load(write(tmp_path, GOOD))
    path = data.paths[1]
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "device" else tmp_path / "nowhere")
    assert radiographs.load(tmp_path).problems == {"unreadable": [GOOD[1][0]]}
    with pytest.raises(ValueError, match="got no regular file"):
        files.decode(path, 8)
    assert [len(images) for images, *_ in data.batches(8)] == [3]


def test_a_table_that_is_a_pipe_or_a_device_is_refused(tmp_path):
    write(tmp_path, GOOD)
    for make in (os.mkfifo, lambda path: path.symlink_to("/dev/zero")):
        (tmp_path / "dataset.csv").unlink()
        make(tmp_path / "dataset.csv")
        with pytest.raises(FileNotFoundError, match=r"folder must hold dataset\.csv"):
            radiographs.load(tmp_path)


# --- the published table ---------------------------------------------------------------------

COLUMNS = (  # of the published dataset.csv
    "filestem,patient_id,study_number,timehash,gender,age,laterality,projection,initial_exam,"
    "ao_classification,cast,diagnosis_uncertain,osteopenia,fracture_visible,metal,pixel_spacing,"
    "device_manufacturer"
)
STEM = "0001_1297860395_01_WRI-L1_M014"
PUBLISHED = STEM + ",1,1,1297860395,M,14,L,1,1,23r-M/2.1,,,,{},,0.144,Siemens"


def table(folder, *rows, names=(STEM,), header=COLUMNS, encoding="utf-8"):
    """Published rows, a file for every name, and two good rows of another patient."""
    good = [
        PUBLISHED.format(label).replace("0001_", f"0002_{label}").replace(",1,1,", ",2,1,", 1)
        for label in ("1.0", "")
    ]
    for name in [*names, *(row.split(",")[0] for row in good)]:
        (folder / f"{name}.png").write_bytes(png())
    text = "\n".join([header, *rows, *good]) + "\n"
    (folder / "dataset.csv").write_bytes(text.encode(encoding))
    return radiographs.load(folder)


def test_the_seventeen_published_columns_are_read(tmp_path):
    data = table(tmp_path, PUBLISHED.format("1.0"))
    assert len(COLUMNS.split(",")) == 17
    assert (data.problems, data.labels.tolist()) == ({}, [1, 1, 0])
    assert data.patients.tolist() == ["0001", "0002", "0002"]


DAMAGED_ROWS = {
    "a field too many": (PUBLISHED.format("1.0") + ",", STEM),
    "many fields too many": (PUBLISHED.format("1.0").replace(",M,", ",M,x,y,z,"), STEM),
    "a field too few": (PUBLISHED.format("1.0").rsplit(",", 1)[0], STEM),
    "cut off before the label": (PUBLISHED.format("1.0")[:60], STEM),
    "the name alone": (STEM, STEM),
    "an open quote": (PUBLISHED.format("1.0").replace("23r", '"23r'), "line 2"),
    "an open quote at the start": ('"' + PUBLISHED.format("1.0"), "line 2"),
    "text after a quote": (PUBLISHED.format("1.0").replace("23r-M/2.1", '"23r"-M'), "line 2"),
    "an endless field": (PUBLISHED.format("1.0").replace("Siemens", "x" * 200_000), "line 2"),
}


@pytest.mark.parametrize("kind", DAMAGED_ROWS)
def test_a_damaged_row_gets_no_label_and_harms_no_other(tmp_path, kind):
    row, name = DAMAGED_ROWS[kind]
    data = table(tmp_path, row)
    assert data.labels.tolist() == [1, 0]
    assert data.problems["damaged row"] == [name]
    assert set(data.problems) <= {"damaged row", "file without row"}
    with pytest.raises(radiographs.DataError, match=f"damaged row: {name}"):
        radiographs.load(tmp_path, strict=True)


def test_quoted_commas_and_empty_lines_are_no_damage(tmp_path):
    data = table(
        tmp_path, "", PUBLISHED.format("1.0").replace("23r-M/2.1", '"23r, 23u ""x"""'), " "
    )
    assert (data.problems, len(data)) == ({}, 3)


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_every_line_end_is_one(tmp_path, end):
    table(tmp_path, PUBLISHED.format(""))
    text = (tmp_path / "dataset.csv").read_text("utf-8").replace("\n", end)
    (tmp_path / "dataset.csv").write_bytes(text.encode())
    data = radiographs.load(tmp_path)
    assert (data.problems, data.labels.tolist()) == ({}, [0, 1, 0])


@pytest.mark.parametrize(
    ("given", "patient", "kinds"),
    [
        ("1", "0001", []),
        ("0001", "0001", []),
        ("1.0", "0001", []),
        ("", "0001", []),
        ("77", "0077", ["patient differs from stem"]),
        ("P-1", "P-1", ["patient differs from stem"]),
    ],
)
def test_the_patient_of_the_table_wins_and_a_difference_is_named(tmp_path, given, patient, kinds):
    data = table(tmp_path, PUBLISHED.format("1.0").replace(",1,1,", f",{given},1,", 1))
    assert data.patients.tolist() == [patient, "0002", "0002"]
    assert data.problems == {kind: [STEM] for kind in kinds}


def test_copies_with_a_prefix_stay_with_their_patient(tmp_path):
    names = [f"aug_{k}_000{k}_1297860395_01_WRI-L1_M014" for k in (1, 3, 4)]
    rows = [
        PUBLISHED.format("1.0").replace(STEM, name).replace(",1,1,", ",,1,", 1) for name in names
    ]
    data = table(tmp_path, *rows, names=names)
    assert data.patients.tolist() == ["0001", "0003", "0004", "0002", "0002"]
    assert data.problems == {}


@pytest.mark.parametrize(
    ("stem", "patient", "kind"),
    [
        ("aug_0005_3", "0005", "patient guessed from stem"),
        ("flip-0005_3", "0003", "patient guessed from stem"),
        ("wrist", None, "unknown patient"),
        ("wrist_left", None, "unknown patient"),
    ],
)
def test_a_patient_that_is_guessed_or_unknown_is_named(tmp_path, stem, patient, kind):
    row = PUBLISHED.format("1.0").replace(STEM, stem).replace(",1,1,", ",,1,", 1)
    data = table(tmp_path, row, names=[stem])
    assert data.patients.tolist() == [patient, "0002", "0002"][patient is None :]
    assert data.problems == {kind: [stem]}


def test_one_image_of_two_patients_belongs_to_neither(tmp_path):
    row = PUBLISHED.format("1.0")
    data = table(tmp_path, row, row.replace(",1,1,", ",,1,", 1), row.replace(",1,1,", ",8,1,", 1))
    assert STEM not in data.stems
    assert data.problems == {
        "duplicate row": [STEM],
        "contradictory patient": [STEM],
        "patient differs from stem": [STEM],
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"])
def test_text_of_any_encoding_is_read_and_other_than_utf_is_named(tmp_path, encoding):
    row = PUBLISHED.format("1.0").replace("Siemens", "Gerät Größe")
    data = table(tmp_path, row, encoding=encoding)
    wrong = {"text that is not UTF-8": ["line 2"]} if encoding in ("latin-1", "cp1252") else {}
    assert (data.problems, data.labels.tolist()) == (wrong, [1, 1, 0])


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    header = COLUMNS.replace("metal", "fracture_visible")
    with pytest.raises(ValueError, match="once each; got filestem, patient_id"):
        table(tmp_path, header=header)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"\x00\x01\x02", b'"', b"a;b\n1;2\n", b"x" * 300_000]
)
def test_a_table_of_something_else_is_one_clear_error(tmp_path, content):
    write(tmp_path, GOOD)
    (tmp_path / "dataset.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"dataset\.csv must have the columns .* got .*Restore"):
        radiographs.load(tmp_path)


def test_a_folder_of_which_nothing_is_usable_is_an_error_that_says_why(tmp_path):
    folder = write(tmp_path, GOOD, {f"{stem}.png": b"" for stem, _ in GOOD[:3]})
    message = r"at least one usable image; got missing file: 0003_9_01; unreadable: 0001_1_01, 0001"
    with pytest.raises(radiographs.DataError, match=message):
        radiographs.load(folder)
    (folder / "dataset.csv").write_text(HEADER, encoding="utf-8")
    with pytest.raises(radiographs.DataError, match="file without row: 0001_1_01, 0001_1_02"):
        radiographs.load(folder)


def test_files_that_a_mac_puts_into_archives_are_no_images(tmp_path):
    data = radiographs.load(write(tmp_path, GOOD))
    (tmp_path / f"._{GOOD[0][0]}.png").write_bytes(b"Mac OS X")
    assert radiographs.load(tmp_path).problems == data.problems == {}


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
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1; got {value}"):
        next(data.batches(**{name: value}))


@pytest.mark.parametrize(
    "index",
    [
        None,
        [7, 2],
        np.array([7, 2], np.uint8),
        [-1, -11, 3],
        (0, 0, 5),
        [],
        slice(2, 9, 3),
        slice(None, None, -1),
        np.arange(11) % 3 == 0,
        [True, False] * 5 + [True],
        np.zeros(11, bool),
        np.array([], int),
    ],
    ids=str,
)
def test_an_index_means_what_it_means_to_numpy(tmp_path, index):
    data = radiographs.load(graded(tmp_path))
    wanted = list(range(11))
    if isinstance(index, slice):
        wanted = wanted[index]
    elif index is not None and len(index) == 11:
        wanted = [k for k in wanted if index[k]]
    elif index is not None:
        wanted = [wanted[k] for k in index]
    assert data.positions(index).tolist() == wanted
    assert data.images(5, index)[:, 0, 0, 0].tolist() == [k + 1 for k in wanted]
    parts = list(data.batches(5, 2, index))
    assert [k for *_, positions in parts for k in positions] == wanted
    assert [k for _, labels, _ in parts for k in labels] == data.labels[wanted].tolist()


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([11], "index must be from -11 to 10; got 11 to 11"),
        ([0, -12], "index must be from -11 to 10; got -12 to 0"),
        ([1.0, 2.0], "got float64 of shape"),
        ([0.5], "got float64 of shape"),
        (3, r"got int64 of shape \(\)"),
        ([[1, 2]], r"got int64 of shape \(1, 2\)"),
        (["0001_1_01"], "got <U9 of shape"),
        ([True, False], r"a mask of 11 truth values; got shape \(2,\)"),
        (np.ones((11, 1), bool), r"a mask of 11 truth values; got shape \(11, 1\)"),
    ],
)
def test_an_index_that_names_nothing_is_refused_at_once(tmp_path, index, message):
    data = radiographs.load(graded(tmp_path))
    for call in (data.batches, data.images):
        with pytest.raises(ValueError, match=message):
            call(5, index=index)


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


BOXES = {
    "a float class": ("3.0 0.5 0.25 0.2 0.1", 1, 0),
    "a byte-order mark": ("\ufeff3 0.5 0.25 0.2 0.1", 1, 0),
    "a confidence": ("3 0.5 0.25 0.2 0.1 0.93", 1, 0),
    "a polygon": ("3 0.4 0.2 0.6 0.2 0.6 0.3 0.4 0.3", 1, 0),
    "a triangle": ("3 0.4 0.2 0.6 0.3 0.5 0.25", 1, 0),
    "empty lines": ("\n 3 0.5 0.25 0.2 0.1 \r\n\n", 1, 0),
    "two": ("3 0.5 0.25 0.2 0.1\n3 0.5 0.25 0.2 0.1\n8 .1 .1 .1 .1", 2, 0),
    "none": ("", 0, 0),
    "a short row": ("3 0.5 0.25 0.2\n3 0.5 0.25 0.2 0.1", 1, 1),
    "a class alone": ("3", 0, 1),
    "text": ("fracture 0.5 0.25 0.2 0.1", 0, 1),
    "half a class": ("3.5 0.5 0.25 0.2 0.1", 0, 1),
    "no number": ("3 nan 0.25 0.2 0.1\ninf 0.5 0.25 0.2 0.1", 0, 2),
    "pixels": ("3 120 60 48 24", 0, 1),
    "an uneven polygon": ("3 0.4 0.2 0.6 0.2 0.6 0.3 0.4", 0, 1),
    "Latin-1": ("3 0.5 0.25 0.2 0.1\nGer\xe4t", 1, 1),
}


@pytest.mark.parametrize("kind", BOXES)
def test_box_rows_are_read_or_named(tmp_path, kind):
    text, boxes, damaged = BOXES[kind]
    folder = write(tmp_path, GOOD)
    (folder / "labels").mkdir()
    path = folder / "labels" / f"{GOOD[1][0]}.txt"
    path.write_bytes(text.encode("latin-1" if kind == "Latin-1" else "utf-8"))
    data = radiographs.load(folder)
    np.testing.assert_allclose(data.boxes(1), [(0.5, 0.25, 0.2, 0.1)] * boxes or np.empty(0))
    assert data.boxes(-3) == data.boxes(1)
    assert data.problems == ({"damaged boxes": [GOOD[1][0]]} if damaged else {})
    assert len(annotations.read_boxes(path)[1]) == damaged
    if damaged:
        with pytest.raises(radiographs.DataError, match=f"damaged boxes: {GOOD[1][0]}: line"):
            radiographs.load(folder, strict=True).boxes(1)


def test_a_box_file_that_is_a_pipe_is_named_and_never_opened(tmp_path):
    data = radiographs.load(write(tmp_path, GOOD))
    (tmp_path / "labels").mkdir()
    os.mkfifo(tmp_path / "labels" / f"{GOOD[1][0]}.txt")
    assert data.boxes(1) == []
    assert data.problems == {"damaged boxes": [GOOD[1][0]]}


@pytest.mark.parametrize("position", [4, -5, True, 1.0, None])
def test_boxes_of_no_image_are_refused(tmp_path, position):
    data = radiographs.load(write(tmp_path, GOOD))
    message = f"position must be an integer from -4 to 3; got {position}"
    with pytest.raises(ValueError, match=message):
        data.boxes(position)


def test_memory_does_not_grow_with_the_number_of_files(tmp_path):
    # The benchmark reads 20,327 files; a hundred show the same.
    shape, peaks = (400, 400), []
    for n in (20, 120):
        (tmp_path / str(n)).mkdir()
        names = [(f"{k:04d}_1_1", str(k % 2)) for k in range(n)]
        contents = {f"{stem}.png": png(shape=shape) for stem, _ in names}
        data = radiographs.load(write(tmp_path / str(n), names, contents))
        tracemalloc.start()
        assert sum(len(images) for images, *_ in data.batches(64, 10)) == n
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 20 * np.prod(shape)


# --- splits ----------------------------------------------------------------------------------


@st.composite
def patients_and_labels(draw):
    sizes = draw(st.lists(st.integers(1, 5), min_size=2, max_size=60))
    patients = np.repeat([f"{k:03d}" for k in range(len(sizes))], sizes)
    labels = draw(st.lists(st.integers(0, 1), min_size=len(patients), max_size=len(patients)))
    return patients, np.array(labels)


@pytest.mark.slow
@settings(max_examples=150)
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


@settings(max_examples=100)
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
