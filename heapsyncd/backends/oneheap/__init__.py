"""The backend for a oneheap service: items as blocks whose documents are made anew at each change.

``shapes``: items of the wire as values. ``documents``: what a block shows, and the document that
shows it. ``catalogue``: which blocks there are of the account's items, and what each shows.
``refresh``: what changed on the service. ``pushes``, ``writing``: pushed documents as requests.
``contents``: contents of files. ``backend``: the contract.
"""
