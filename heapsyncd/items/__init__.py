"""Items: notes, tasks, appointments and others as values with fields, for servers without CRDTs.

``values``: what an item is. ``kinds``: which fields each type has, which keys of the front matter
show them, and which requests take them. ``notation``: how a field is written in front matter.
``changes``: what to send for a difference, and the three-way merge of a list. Files of items are
read and written by ``markdown.item_file``, merged by ``markdown.item_merge`` and named by
``folder.item_names``.
"""
