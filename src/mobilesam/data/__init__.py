"""Data sets on disk: their photos, their annotations, and what is broken in them. Does not import torch."""
