"""A document's XML as plain values, and the names that stand for what markdown can say."""
