"""Compare cache, folder and server; say what is damaged, and repair it while no daemon runs.

``account`` looks, ``findings`` names what can be found and what repairs it, ``repair`` does that.
"""
