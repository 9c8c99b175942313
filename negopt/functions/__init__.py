"""The user's functions: called, checked, counted, differentiated."""
