"""Connect to servers: ``contract`` is what sync may ask, one module serves each kind of server."""
