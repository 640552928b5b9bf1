"""What the parts of one heap's mirror share: its state, its index, the unit of work."""
