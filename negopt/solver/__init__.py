"""The loop: stopping tests, the second-order check, results, reports, resuming."""
