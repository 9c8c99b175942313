"""Long vectors: the three primitives through which an iteration touches them."""
