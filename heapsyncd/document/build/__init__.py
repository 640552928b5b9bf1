"""The new body of an edit: built and judged as values, then written into the document."""
