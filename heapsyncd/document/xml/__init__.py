"""A document's XML as plain values, and the tags, marks and attributes that it uses."""
