"""What every test shares: Hypothesis profiles, array libraries, data."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import os
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

# Before NumPy is imported: one BLAS thread, so that times and last bits do not
# depend on the machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import numpy as np
import pytest

# "repeatable" is what `make test` and CI run: the same examples every time.
# HYPOTHESIS_PROFILE=explore looks for new ones.
hypothesis.settings.register_profile(
    "repeatable", derandomize=True, deadline=None, print_blob=True, database=None
)
hypothesis.settings.register_profile("explore", deadline=None, print_blob=True, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@dataclasses.dataclass(frozen=True)
class XpCase:
    """One array library to test on.

    Attributes
    ----------
    name : str
        ``"numpy"``, ``"numpy-readonly"``, ``"array_api_strict"``, ``"torch"``, ``"cupy"``.
    xp : module
        The array-API namespace.
    device : object
        Where the arrays of this case live.  For array-api-strict it is the second
        device, which raises on every hidden copy to the host: a stand-in for a GPU.
    """

    name: str
    xp: Any
    device: Any

    def asarray(self, values: Any, dtype: str = "float64") -> Any:
        """Return a fresh array of this library, on this device, of type `dtype`."""
        host = np.array(values, dtype=dtype)
        if self.name == "numpy-readonly":
            host.flags.writeable = False
            return host
        if self.name == "numpy":
            return host
        return self.xp.asarray(host, dtype=getattr(self.xp, dtype), device=self.device)

    def to_numpy(self, x: Any) -> np.ndarray:
        """Return a host copy of `x`, for assertions."""
        if self.name == "cupy":
            return x.get()
        if self.name == "array_api_strict":
            x = self.xp.asarray(x, device=self.xp.Device("CPU_DEVICE"))
        if self.name == "torch":
            return x.detach().cpu().numpy().copy()
        return np.array(x)

    def owns(self, x: Any) -> bool:
        """Tell whether `x` is an array of this library on this device."""
        from array_api_compat import array_namespace, device

        return array_namespace(x) is self.xp and device(x) == self.device


def _xp_case(name: str) -> XpCase:
    if name.startswith("numpy"):
        return XpCase(name, importlib.import_module("array_api_compat.numpy"), "cpu")
    if name == "array_api_strict":
        xp = pytest.importorskip("array_api_strict")
        return XpCase(name, xp, xp.Device("device1"))
    if name == "torch":
        torch = pytest.importorskip("torch")
        xp = importlib.import_module("array_api_compat.torch")
        return XpCase(name, xp, torch.device("cpu"))
    cupy = pytest.importorskip("cupy")
    try:
        found = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:
        found = 0
    if not found:
        pytest.skip("no GPU")
    return XpCase(name, importlib.import_module("array_api_compat.cupy"), cupy.cuda.Device(0))


@pytest.fixture(params=["numpy", "numpy-readonly", "array_api_strict", "torch", "cupy"])
def xp_case(request: pytest.FixtureRequest) -> XpCase:
    """Every array library that is installed, one test each."""
    return _xp_case(request.param)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of the larger data sets; skip where it is missing."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("NEGOPT_DATA") or beside)
    if not folder.is_dir():
        pytest.skip("no data folder; set NEGOPT_DATA")
    return folder


@pytest.fixture(scope="module")
def scripts() -> Iterator[Callable[[str], ModuleType]]:
    """Return an import of an experiment by name; they import each other as when they are run."""
    folder = str(Path(__file__).resolve().parents[1] / "docs" / "experiments")
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(folder)
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", "")).startswith(folder):
                del sys.modules[name]


def _write_sealed(path: Path, header: object, arrays: dict[str, Any], **how: Any) -> None:
    """Write a checkpoint, whatever it holds, with the checksum that belongs to it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    with zipfile.ZipFile(path, "w", **how) as archive:
        for name, array in {"__header__": np.frombuffer(text, np.uint8), **arrays}.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.asanyarray(array))
        archive.comment = b"negopt checkpoint, sha256 " + b"0" * 64
    raw = path.read_bytes()[:-64]
    path.write_bytes(raw + hashlib.sha256(raw).hexdigest().encode())


@pytest.fixture(scope="session")
def write_sealed() -> Callable[..., None]:
    """``write_sealed(path, header, arrays)`` writes a checkpoint with its checksum."""
    return _write_sealed


@pytest.fixture(scope="session")
def rewrite() -> Callable[..., None]:
    """``rewrite(path, change)``: a checkpoint after ``change(header, arrays)``, sealed again."""

    def changed(path: Path, change: Callable[..., object]) -> None:
        with np.load(path) as file:
            arrays = dict(file)
        header = json.loads(arrays.pop("__header__").tobytes())
        change(header, arrays)
        _write_sealed(path, header, arrays)

    return changed
