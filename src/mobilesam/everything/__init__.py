"""Automatic mask generation: all masks of a photo, without prompts."""
