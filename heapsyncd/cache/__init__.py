"""Store what must survive a power cut: one SQLite file for each account.

Updates are opaque bytes here; the modules are functions on a transaction.
"""
