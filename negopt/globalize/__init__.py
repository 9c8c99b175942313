"""How far to go along a step, and whether a trial is accepted."""
