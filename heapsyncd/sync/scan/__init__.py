"""Folder to edits: what was seen, when it is settled, and what it means."""
