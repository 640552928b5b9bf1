"""Paths of blocks and their attachments in the folder; never a document's body."""
