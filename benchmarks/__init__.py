"""Scripts that measure speed and quality; each runs as `python -m benchmarks.NAME` from the repository's root."""
