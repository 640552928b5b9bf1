"""Carry a plan out: build new nodes as values, check them, write them as operations."""
