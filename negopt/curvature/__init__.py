"""What is believed about the Hessian: limited-memory, dense and exact models."""
