"""Small host algebra, by LAPACK and plain NumPy."""
