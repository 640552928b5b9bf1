"""Server to cache: the delta feed, pulls, the live link, and what an update from there means."""
