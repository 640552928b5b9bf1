"""Cache to server: updates, contents of files, and contents kept there until requested."""
