"""Video: an object of one frame, followed through the others."""
