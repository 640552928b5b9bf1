"""Examine the bytes of updates and state vectors before yrs reads them."""
