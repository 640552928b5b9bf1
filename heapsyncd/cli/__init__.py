"""The commands, one file for each family; ``main.main`` is the entry point."""
