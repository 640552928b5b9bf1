"""Read text into a tree."""
