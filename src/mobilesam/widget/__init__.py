"""A photo in a notebook whose objects are cut out by clicks (extra `notebook`): `mobilesam.widget.Clicker`."""

from mobilesam.widget.clicker import Clicker

__all__ = ["Clicker"]
