"""Edits of the inline content of one textblock. Pure."""
