"""Deletions that are held until somebody decides, and the decisions (``README.md``)."""
