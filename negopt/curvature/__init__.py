"""Rules that make a model of the Hessian: limited-memory, dense and exact ones."""
