"""Show a document's body as the tree of what markdown can express."""
