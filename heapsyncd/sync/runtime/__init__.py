"""Lifetimes: an account, its heaps, their tasks, and what ends or pauses them."""
