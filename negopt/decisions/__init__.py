"""What the algorithms decide, in scalars alone.

Plain Python on floats, integers and small work vectors, which the array code calls as it is
and the compiled loop for jitted objectives compiles from the same source: no array of n
entries, no library but `math`, no closures, no keyword arguments.
"""
