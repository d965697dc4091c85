"""Masks as files of other tools; uses numpy and OpenCV."""
