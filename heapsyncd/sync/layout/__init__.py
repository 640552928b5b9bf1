"""Where blocks and their contents stand in the folder; never what a document says."""
