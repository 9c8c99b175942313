"""Benchmarks of negopt, SciPy's methods beside its own; files mirror the package."""
