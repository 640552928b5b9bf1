"""A document's body as the tree of what markdown can say of it."""
