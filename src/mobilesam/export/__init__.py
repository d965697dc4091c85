"""Torch → files that run without it. Needs the extra `torch`."""
