"""Data sets on disk: which photos there are, what is annotated on them, and what is broken. Free of torch."""
