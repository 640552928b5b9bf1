"""Carries a plan out: new nodes as values, then the operations that write them."""
