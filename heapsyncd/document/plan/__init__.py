"""Which node an edit means, and what others did to it; decided before anything is built."""
