"""The bytes of updates and state vectors: read and judged before yrs sees them."""
