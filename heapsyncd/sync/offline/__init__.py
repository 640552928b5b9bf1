"""Answers from the cache while no daemon runs."""
