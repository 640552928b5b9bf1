"""Change a text to read as another tree and keep every other byte."""
