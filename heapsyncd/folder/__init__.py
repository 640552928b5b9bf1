"""Mirror a heap to files: names, layout, ignore rules, scans, watching and all writing.

Pure modules: ``names``, ``layout``, ``ignore``, ``snapshot``. Edges: ``disk`` (which uses
``walk``, ``replace``, ``partial_downloads``, ``places``, ``marker``, ``safe_open``, ``syscalls``
and ``trouble``) and ``watch``. ``README.md`` beside this file has the design.
"""
