"""What every room uses: arrays, data that travels, options, messages, random numbers."""
