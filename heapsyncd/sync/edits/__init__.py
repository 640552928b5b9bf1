"""A local change becomes an update of a document, stored in the cache."""
