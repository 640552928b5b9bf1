"""A server's idea of change turned into ours: ``contract`` says what sync may ask, one module a
kind of server.
"""
