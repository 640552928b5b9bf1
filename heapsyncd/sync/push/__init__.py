"""Cache to server: updates, contents of files, and contents that stay there until asked for."""
