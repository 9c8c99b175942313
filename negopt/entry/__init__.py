"""`minimize`, and every method as a callable."""
