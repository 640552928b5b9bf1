"""Write a tree as new text."""
