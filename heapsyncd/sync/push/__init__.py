"""Cache to server: updates."""
