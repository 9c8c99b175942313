"""Readers: good files, bad files, and the real ones."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
import sys

import numpy as np
import pytest

from negopt.core.arrays import to_host
from negopt.neural import (
    binary_labels,
    class_labels,
    load_ionosphere,
    read_csv,
    read_libsvm,
    read_table,
    standardize,
)

LIBSVM = "+1 1:0.5 3:-2e1\n-1\n# a comment\n\n2.5 2:7 # another\n"


@pytest.fixture
def write(tmp_path):
    def write(text, name="file.txt"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_libsvm(write):
    data = read_libsvm(write(LIBSVM))
    assert data.X.tolist() == [[0.5, 0, -20], [0, 0, 0], [0, 7, 0]]
    assert data.y.tolist() == [1, -1, 2.5]
    assert data.X.dtype == data.y.dtype == np.float64
    assert data.name == "file"
    assert repr(data) == "Dataset('file', 3 samples, 3 features)"
    assert read_libsvm(str(write(LIBSVM)), n_features=5).X.shape == (3, 5)


@pytest.mark.parametrize("packer", [lzma, gzip, bz2])
def test_packed_files_are_told_by_content(write, packer):
    path = write(packer.compress(LIBSVM.encode()), "anything")
    assert read_libsvm(path).X.shape == (3, 3)
    cut = write(packer.compress(LIBSVM.encode() * 50)[:-12], "cut.xz")
    with pytest.raises(ValueError, match=r"cut\.xz, line \d+: the compressed file is damaged"):
        read_libsvm(cut)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("abc 1:2", "the label 'abc'"),
        ("1:2 2:3", "the label '1:2'"),
        ("nan 1:2", "the label 'nan'"),
        ("1_0 1:2", "the label '1_0'"),
        ("1 1:2 x", "'x' is not index:value"),
        ("1 1:", "'1:' is not index:value"),
        ("1 :3", "':3' is not index:value"),
        ("1 1:2:3", "'1:2:3'"),
        ("1 1: 2", "'1:' is not"),
        ("1 1.5:2", r"'1\.5:2'"),
        ("1 -1:2", "'-1:2'"),
        ("1 1:inf", "finite"),
        ("1 qid:3 1:2", "ranking"),
        ("1 0:2", "index 0 in '0:2': indices start at 1"),
        ("1 2:1 2:3", "follows index 2"),
        ("1 3:1 2:3", "follows index 3"),
        ("1 9:1", "index 9 is above n_features = 4"),
    ],
)
def test_bad_libsvm_lines_are_named(write, line, message):
    path = write(f"1 1:1\n\n{line}\n1 1:1\n", "bad.svm")
    with pytest.raises(ValueError, match=rf"bad\.svm, line 3: .*{message}"):
        read_libsvm(path, n_features=4)


def test_stored_zeros_past_the_end_are_nothing(write):
    assert read_libsvm(write("1 1:1 5:0\n"), n_features=4).X.tolist() == [[1, 0, 0, 0]]


def test_empty_and_missing_files(write, tmp_path):
    for reader in (read_libsvm, read_csv, read_table):
        with pytest.raises(ValueError, match=r"file\.txt holds no samples"):
            reader(write("# nothing\n"))
        with pytest.raises(FileNotFoundError):
            reader(tmp_path / "missing")
    with pytest.raises(ValueError, match="'n_features' is 0"):
        read_libsvm(write(LIBSVM), n_features=0)
    with pytest.raises(ValueError, match="header but no samples"):
        read_csv(write("a,b\n"))


@pytest.mark.parametrize("separator", [",", ";", "\t", " ", "   ", ", "])
def test_csv_delimiters(write, separator):
    rows = [["1", "2.5", "-3"], ["4", "5e0", "6"]]
    text = "".join(separator.join(row) + "\r\n" for row in rows)
    data = read_csv(write(text))
    assert data.X.tolist() == [[1, 2.5], [4, 5]]
    assert data.y.tolist() == [-3, 6]
    assert data.feature_names == ()


def test_csv_targets(write):
    path = write('"a, b",c,d\n1,2,3\n# note\n4,5,6\n', "named.csv")
    data = read_csv(path)
    assert data.feature_names == ("a, b", "c")
    assert data.y.tolist() == [3, 6]
    assert read_csv(path, "c").y.tolist() == [2, 5]
    assert read_csv(path, 0).y.tolist() == [1, 4]
    both = read_csv(path, ["d", 0])
    assert both.y.tolist() == [[3, 1], [6, 4]]
    assert both.X.tolist() == [[2], [5]]
    assert both.feature_names == ("c",)
    with pytest.raises(ValueError, match=r"'target' is 'z', not in named\.csv: its columns are"):
        read_csv(path, "z")
    with pytest.raises(ValueError, match=r"'target' is 3, but named\.csv has 3 columns"):
        read_csv(path, 3)
    with pytest.raises(ValueError, match="several different"):
        read_csv(path, ["d", -1])
    with pytest.raises(ValueError, match="it has no header"):
        read_csv(write("1,2\n"), "a")


def test_csv_header_and_delimiter_can_be_given(write):
    path = write("1 2\n3 4\n")
    assert read_csv(path, header=True).X.tolist() == [[3]]
    assert read_csv(path, header=True).feature_names == ("1",)
    assert read_csv(write("1|2\n"), delimiter="|").y.tolist() == [2]
    # words in the target do not make a header of the first line
    words = read_csv(write("5.1,setosa\n7.0,virginica\n"))
    assert words.y.tolist() == ["setosa", "virginica"]
    assert words.X.shape == (2, 1)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2", "2 fields; the first line has 3"),
        ("1,,3", "'' in column 'b'"),
        ("?,2,3", r"'\?' in column 'a'"),
        ("1,NA,3", "'NA' in column 'b'"),
        ("1,nan,3", "'nan' in column 'b'"),
        ("1,2,x", "the target 'x'"),
        ("1,2,", "the target ''"),
    ],
)
def test_bad_csv_lines_are_named(write, line, message):
    with pytest.raises(ValueError, match=rf"bad\.csv, line 3: .*{message}"):
        read_csv(write(f"a,b,c\n1,2,3\n{line}\n", "bad.csv"))


def test_bytes_that_are_not_text(write):
    with pytest.raises(ValueError, match="line 2"):
        read_libsvm(write(b"1 1:1\n\xff\xfe\x00 1:2\n"))


def test_byte_order_mark(write):
    assert read_libsvm(write(b"\xef\xbb\xbf1 1:2\n")).y.tolist() == [1]


def test_table_guesses_the_format(write):
    assert read_table(write("-1\n+1 2:3\n")).X.shape == (2, 2)
    assert read_table(write("1 2 3\n")).X.shape == (1, 2)
    assert read_table(write("1,2,3\n"), target=0).y.tolist() == [1]
    assert read_table(write("1\n2\n"), "libsvm", n_features=3).X.shape == (2, 3)
    assert read_table(write("1 2\n"), "csv").X.shape == (1, 1)
    with pytest.raises(ValueError, match="'format' is 'arff'"):
        read_table(write("1\n"), "arff")


def test_ionosphere():
    data = load_ionosphere()
    assert data.X.shape == (351, 34)
    assert np.count_nonzero(data.X) == 10551
    assert np.abs(data.X).max() == 1
    values, count = np.unique(data.y, return_counts=True)
    assert values.tolist() == [-1, 1]
    assert count.tolist() == [126, 225]
    assert data.name == "ionosphere_scale"


FILES = {  # rows, features, counts of the labels, stored entries (the data's own table)
    "a1a": (1605, 119, [1210, 395]),
    "a9a.xz": (32561, 123, [24720, 7841]),
    "colon-cancer.xz": (62, 2000, [40, 22]),
    "heart": (270, 13, [150, 120]),
    "heart_scale": (270, 13, [150, 120]),
    "ijcnn1.xz": (49990, 22, [45137, 4853]),
    "ionosphere_scale": (351, 34, [126, 225]),
    "leu.xz": (38, 7129, [11, 27]),
    "madelon.xz": (2000, 500, [1000, 1000]),
    "mushrooms.xz": (8124, 112, [3916, 4208]),
    "splice.t.xz": (2175, 60, [1044, 1131]),
    "splice.xz": (1000, 60, [483, 517]),
    "svmguide3": (1243, 22, [947, 296]),
    "w1a.xz": (2477, 300, [2405, 72]),
    "w8a.xz": (49749, 300, [48270, 1479]),
}


@pytest.mark.parametrize("name", FILES)
def test_real_libsvm_files(data_dir, name):
    rows, features, counts = FILES[name]
    data = read_table(data_dir / "libsvm" / name)
    assert data.X.shape == (rows, features)
    assert np.unique(data.y, return_counts=True)[1].tolist() == counts
    if name == "madelon.xz":
        assert data.X.sum() == 488083511  # the check-sum of its publisher
    if name == "svmguide3":
        trimmed = read_libsvm(data_dir / "libsvm" / name, n_features=21)
        assert trimmed.X.shape == (1243, 21)


@pytest.mark.parametrize(
    ("name", "rows", "features"),
    [
        ("energy_data.txt", 768, 8),
        ("kin8nm_data.txt.xz", 8192, 8),
        ("protein_data.txt.xz", 45730, 9),
    ],
)
def test_real_tables(data_dir, name, rows, features):
    path = data_dir / "uci" / name
    data = read_table(path)
    assert data.X.shape == (rows, features)
    if name == "energy_data.txt":
        np.testing.assert_array_equal(np.column_stack([data.X, data.y]), np.loadtxt(path))
        csv = read_table(data_dir / "uci" / "ENB2012_data.csv", target=["Y1", "Y2"])
        assert csv.feature_names == tuple(f"X{i}" for i in range(1, 9))
        assert csv.y.shape == (768, 2)
        np.testing.assert_array_equal(csv.X, data.X)
        np.testing.assert_array_equal(csv.y[:, 0], data.y)


@pytest.mark.parametrize("labels", [[-1, 1], [0, 1], [1, 2], [False, True], ["bad", "good"]])
def test_binary_labels(labels):
    signs = binary_labels([labels[1], labels[0], labels[1]])
    assert signs.tolist() == [1, -1, 1]
    assert signs.dtype == np.float64


def test_labels_that_do_not_fit():
    with pytest.raises(ValueError, match=r"3 different labels \(0, 1, 2\)"):
        binary_labels([0, 1, 2])
    with pytest.raises(ValueError, match="1 different labels"):
        binary_labels([1, 1])
    with pytest.raises(ValueError, match="NaN"):
        class_labels([1.0, np.nan])
    with pytest.raises(ValueError, match=r"shape \(1, 1\)"):
        class_labels([[1.0]])


def test_class_labels():
    indices, classes = class_labels([3.0, 1.0, 3.0, 7.0])
    assert indices.tolist() == [1, 0, 1, 2]
    assert indices.dtype == np.int64
    assert classes.tolist() == [1, 3, 7]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_standardize(xp_case, dtype):
    host = np.random.default_rng(0).standard_normal((50, 3)) * [1, 10, 0.1] + [0, 5, 3]
    host[:, 2] = 0.1  # its computed deviation is not exactly zero
    X = xp_case.asarray(host, dtype)
    scaled, mean, std = standardize(X)
    assert xp_case.owns(scaled)
    assert scaled.dtype == X.dtype
    result = to_host(scaled)
    np.testing.assert_allclose(result.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(result.std(axis=0)[:2], 1, rtol=1e-5)
    assert np.abs(result[:, 2]).max() < 1e-6
    again, *_ = standardize(X[:5, :], mean, std)
    np.testing.assert_allclose(to_host(again), result[:5], rtol=1e-6, atol=1e-7)


def test_standardize_errors():
    X = np.ones((3, 2))
    with pytest.raises(ValueError, match=r"'mean' has shape \(3,\)"):
        standardize(X, np.ones(3))
    with pytest.raises(ValueError, match="not positive"):
        standardize(X, np.ones(2), np.zeros(2))
    with pytest.raises(ValueError, match="expected"):
        standardize(np.ones(3))


def test_import_is_light():
    code = (
        "import sys, negopt.neural\n"
        "bad = {'torch', 'numba', 'matplotlib', 'cupy', 'jax'} & set(sys.modules)\n"
        "sys.exit(str(bad) if bad else 0)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
