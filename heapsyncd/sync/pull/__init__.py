"""Server to cache: the delta feed, pulls, the live feed, and what they bring."""
