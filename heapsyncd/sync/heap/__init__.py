"""What the parts of one heap's mirror share: its context, its index, the unit of work."""
