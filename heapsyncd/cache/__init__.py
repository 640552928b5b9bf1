"""What survives a dead battery: one SQLite file an account, updates as opaque bytes, transactions
as functions.
"""
