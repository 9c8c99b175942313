"""Train networks: flat parameters, an embedded network, losses, and data readers."""

from negopt.neural._determinism import check_deterministic
from negopt.neural.data import Dataset, load_ionosphere, read_csv, read_libsvm, read_table
from negopt.neural.flat import Layout, flatten
from negopt.neural.flat_objective import FlatObjective
from negopt.neural.mlp import MLP
from negopt.neural.mlp_objective import MLPObjective
from negopt.neural.preprocess import binary_labels, class_labels, standardize
from negopt.neural.train import fit

__all__ = [
    "MLP",
    "Dataset",
    "FlatObjective",
    "Layout",
    "MLPObjective",
    "binary_labels",
    "check_deterministic",
    "class_labels",
    "fit",
    "flatten",
    "load_ionosphere",
    "read_csv",
    "read_libsvm",
    "read_table",
    "standardize",
]
