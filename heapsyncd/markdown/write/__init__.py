"""Tree to text, where there is no text yet."""
