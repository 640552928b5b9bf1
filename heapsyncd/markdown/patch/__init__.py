"""A text changed to read as another tree, byte for byte as it was everywhere else."""
