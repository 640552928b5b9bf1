"""The commands, one module each. ``__main__`` is the entry point, ``main`` the command line."""
