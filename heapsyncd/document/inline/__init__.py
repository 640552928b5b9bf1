"""Edit and merge the inline content of one textblock. Pure."""
