"""Sphinx configuration.  The tables of methods, options and statuses come from the code."""

import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path

from negopt.methods import DENSE_LIMIT, METHODS

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "negopt"
author = "negopt developers"
copyright = "2026, negopt developers"
release = importlib.metadata.version("negopt")
version = ".".join(release.split(".")[:2])

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "tables",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
nitpicky = False

# The network is used only where it is known to be there.
if os.environ.get("READTHEDOCS"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "numpy": ("https://numpy.org/doc/stable", None),
        "python": ("https://docs.python.org/3", None),
        "scipy": ("https://docs.scipy.org/doc/scipy", None),
    }

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "substitution"]
myst_substitutions = {"dense_limit": DENSE_LIMIT}
myst_heading_anchors = 3

autosummary_generate = True
# The pages on PyTorch and JAX are built without them.
autodoc_mock_imports = [name for name in ("torch", "jax") if not importlib.util.find_spec(name)]
autodoc_typehints = "none"  # numpydoc says the types, in words
numpydoc_show_class_members = False
# Every object that the reference shows is validated; -W makes a fault an error.
numpydoc_validation_checks = {
    "GL05",
    "GL06",
    "GL07",
    "GL08",
    "GL10",
    "PR01",
    "PR02",
    "PR03",
}
# Enumerations have no parameters of their own; a method's callable has those of SciPy's protocol;
# small methods of a class are one line; pure data says what its attributes are.
numpydoc_validation_exclude = {
    r"\.Status",
    r"\.(Dataset|DerivativeCheck|DiagonalMass|Eigenpairs|Layout|Spectrum)$",
    r"\.[A-Z]\w*\.\w+$",
    r"\.OptimizeResult",
    *(rf"\.{name.replace('-', '_')}$" for name in METHODS),
}

html_theme = "pydata_sphinx_theme"
html_title = "negopt"
html_show_sourcelink = False
html_theme_options = {"show_prev_next": False, "navbar_align": "left"}
