"""Read data sets from LIBSVM text, delimited text, and the one shipped with negopt."""

from __future__ import annotations

import csv
import re
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from negopt.core.arrays import FloatArray
from negopt.neural._text import PathLike, bad_line, content_lines, finite_number

__all__ = ["Dataset", "load_ionosphere", "read_csv", "read_libsvm", "read_table"]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples with their labels or values.

    Attributes
    ----------
    X : ndarray, shape (N, d)
        Features, float64.
    y : ndarray, shape (N,) or (N, k)
        Raw labels or values as the file has them: float64, or text where a
        delimited file has text.  See :func:`negopt.neural.binary_labels` and
        :func:`negopt.neural.class_labels`.
    name : str
        The file's name without its endings.
    feature_names : tuple of str
        From the header of a delimited file; empty when there is none.
    """

    X: FloatArray
    y: npt.NDArray[np.float64 | np.str_]
    name: str = ""
    feature_names: tuple[str, ...] = ()

    def __repr__(self) -> str:
        n, d = self.X.shape
        return f"Dataset({self.name!r}, {n} samples, {d} features)"


def read_libsvm(path: PathLike, n_features: int | None = None) -> Dataset:
    """Read a file in LIBSVM text, ``label index:value index:value ...``.

    Parameters
    ----------
    path : path
        A text file, plain or packed as .xz, .gz or .bz2 (detected by its content).
    n_features : int, optional
        Number of columns.  By default the largest index in the file.

    Returns
    -------
    Dataset
        Dense; what is absent is 0, and a line with a label alone is a row of zeros.

    Raises
    ------
    ValueError
        For a line that does not fit, with file name and line number: a label or value that is
        not a finite number, an index below 1, not rising along the line, or above `n_features`
        with a value other than 0; for a file without samples.

    Notes
    -----
    The format is that of LIBSVM [1]_; text after ``#`` is a comment.

    References
    ----------
    .. [1] Chang and Lin (2011), LIBSVM: a library for support vector machines, ACM Trans.
       Intell. Syst. Technol. 2:27, doi:10.1145/1961189.1961199.
    """
    limit = n_features if n_features is not None else np.iinfo(np.int64).max
    if limit < 1:
        raise ValueError(f"'n_features' is {n_features}; it must be 1 or more, or None.")
    labels, values = array("d"), array("d")
    rows, columns = array("q"), array("q")
    for line, text in content_lines(path):
        label, *entries = text.split()
        y = finite_number(label)
        if y is None:
            bad_line(path, line, f"the label {label!r} is not a finite number.")
        last = 0
        for entry in entries:
            index, value = _entry(path, line, entry)
            if index <= last:
                rule = "indices start at 1" if index < 1 else f"it follows index {last}"
                bad_line(path, line, f"index {index} in {entry!r}: {rule}, and must rise.")
            last = index
            if index > limit:
                if value != 0.0:  # a stored zero past the end says nothing
                    bad_line(path, line, f"index {index} is above n_features = {n_features}.")
                continue
            rows.append(len(labels))
            columns.append(index - 1)
            values.append(value)
        labels.append(y)
    if not labels:
        raise ValueError(f"{Path(path).name} holds no samples.")
    widest = max(columns, default=-1) + 1
    X = np.zeros((len(labels), widest if n_features is None else n_features))
    X[np.asarray(rows), np.asarray(columns)] = np.asarray(values)
    return Dataset(X, np.asarray(labels), _name(path))


def _entry(path: PathLike, line: int, entry: str) -> tuple[int, float]:
    """Return index and value of one ``index:value``."""
    before, colon, after = entry.partition(":")
    value = finite_number(after)
    if not colon or value is None or not (before.isascii() and before.isdigit()):
        hint = " (ranking data with query numbers are not read)" if before == "qid" else ""
        bad_line(path, line, f"{entry!r} is not index:value with a finite value{hint}.")
    return int(before), value


def read_csv(
    path: PathLike,
    target: int | str | Sequence[int | str] = -1,
    *,
    delimiter: str | None = None,
    header: bool | None = None,
) -> Dataset:
    """Read delimited text, one sample a line.

    Parameters
    ----------
    path : path
        A text file, plain or packed as .xz, .gz or .bz2 (detected by its content).
    target : int, str or sequence of these, default -1
        The column of `y`, by position (negative from the end) or by its name in the
        header; several columns give `y` of shape (N, k).  All others are features.
    delimiter : str, optional
        One character, or ``" "`` for any white space.  By default whichever of
        ``, ; tab`` is most frequent in the first line, else white space.
    header : bool, optional
        Whether the first line holds names.  By default it does when none of its
        fields is a number.

    Returns
    -------
    Dataset
        `y` is text when no entry of the target column is a number.

    Raises
    ------
    ValueError
        For a line with another number of fields or a field that is not a finite number, with
        file name and line number; for a target that does not exist; for a file without samples.
    """
    lines = content_lines(path)
    first = next(lines, None)
    if first is None:
        raise ValueError(f"{Path(path).name} holds no samples.")
    if delimiter is None:
        delimiter = max(",;\t", key=first[1].count)
        delimiter = delimiter if delimiter in first[1] else " "
    split = _splitter(delimiter)
    names = split(first[1])
    if header is None:
        header = all(finite_number(field) is None for field in names)
    targets = _positions(path, target, names if header else None, len(names))
    features = [i for i in range(len(names)) if i not in targets]
    X = array("d")
    y: list[list[_Field]] = [[] for _ in targets]
    for line, text in lines if header else chain([first], lines):
        fields = split(text)
        if len(fields) != len(names):
            bad_line(path, line, f"{len(fields)} fields; the first line has {len(names)}.")
        for i in features:
            value = finite_number(fields[i])
            if value is None:
                column = f"{names[i]!r}" if header else str(i)
                bad_line(path, line, f"{fields[i]!r} in column {column} is not a finite number.")
            X.append(value)
        for store, i in zip(y, targets, strict=True):
            store.append((line, fields[i]))
    if not y[0]:
        raise ValueError(f"{Path(path).name} holds a header but no samples.")
    columns = [_target_column(path, store) for store in y]
    one = isinstance(target, (int, str))
    return Dataset(
        np.asarray(X).reshape(len(y[0]), len(features)),
        columns[0] if one else np.stack(columns, axis=1),
        _name(path),
        tuple(names[i] for i in features) if header else (),
    )


#: One field of a target column with the line it stands on.
_Field: TypeAlias = tuple[int, str]


def _splitter(delimiter: str) -> Callable[[str], list[str]]:
    if delimiter.isspace() and delimiter != "\t":
        return str.split

    def split(text: str) -> list[str]:
        row = next(csv.reader([text], delimiter=delimiter, skipinitialspace=True))
        return [field.strip() for field in row]

    return split


def _positions(
    path: PathLike, target: int | str | Sequence[int | str], names: list[str] | None, count: int
) -> list[int]:
    """Return the positions of the target columns."""
    wanted = [target] if isinstance(target, (int, str)) else list(target)
    positions = []
    for column in wanted:
        if isinstance(column, str):
            if names is None or column not in names:
                known = f"its columns are {names}" if names else "it has no header"
                raise ValueError(f"'target' is {column!r}, not in {Path(path).name}: {known}.")
            positions.append(names.index(column))
        elif -count <= column < count:
            positions.append(column % count)
        else:
            raise ValueError(f"'target' is {column}, but {Path(path).name} has {count} columns.")
    if not positions or len(set(positions)) < len(positions):
        raise ValueError(f"'target' is {target!r}; name one column or several different ones.")
    return positions


def _target_column(path: PathLike, fields: list[_Field]) -> npt.NDArray[np.float64 | np.str_]:
    values = [finite_number(text) for _, text in fields]
    if all(value is None for value in values) and all(text for _, text in fields):
        return np.asarray([text for _, text in fields])
    for (line, text), value in zip(fields, values, strict=True):
        if value is None:
            bad_line(path, line, f"the target {text!r} is not a finite number, others are.")
    return np.asarray(values, dtype=np.float64)


def read_table(
    path: PathLike,
    format: str | None = None,  # noqa: A002 -- the name readers of tables use
    *,
    n_features: int | None = None,
    target: int | str | Sequence[int | str] = -1,
) -> Dataset:
    """Read a data file whose format is detected from its content.

    Parameters
    ----------
    path : path
        See :func:`read_libsvm` and :func:`read_csv`.
    format : {"libsvm", "csv"}, optional
        By default ``"libsvm"`` when one of the first 100 lines reads
        ``label index:value ...``, else ``"csv"`` (white space too).
    n_features, target : optional
        For :func:`read_libsvm` and for :func:`read_csv`.
    """
    kind = format
    if kind is None:
        pair = re.compile(r"[^\s,;]+\s+\d+:\S")
        head = (text for _, text in islice(content_lines(path), 100))
        kind = "libsvm" if any(pair.match(text) for text in head) else "csv"
    if kind == "libsvm":
        return read_libsvm(path, n_features)
    if kind == "csv":
        return read_csv(path, target)
    raise ValueError(f"'format' is {format!r}; choose 'libsvm' or 'csv', or leave it out.")


def load_ionosphere() -> Dataset:
    """Return the Ionosphere data, 351 samples of 34 features, labels -1 and +1.

    Radar returns, scaled to [-1, 1]; 126 "bad" (-1) and 225 "good" (+1).  It ships
    with negopt, so examples and tests need no download.

    Notes
    -----
    Data from the UCI Machine Learning Repository [1]_, licence CC BY 4.0.

    References
    ----------
    .. [1] Sigillito, Wing, Hutton and Baker (1989), Ionosphere, UCI Machine Learning
       Repository, doi:10.24432/C5W01B.
    """
    from importlib import resources  # it is slow to import, and only needed here

    source = resources.files("negopt.neural") / "data_files" / "ionosphere_scale.xz"
    with resources.as_file(source) as path:
        return read_libsvm(path)


def _name(path: PathLike) -> str:
    name = Path(path).name
    for ending in (".xz", ".gz", ".bz2", ".csv", ".txt", ".libsvm", ".svm", ".data"):
        name = name.removesuffix(ending)
    return name
