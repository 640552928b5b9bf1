"""Contents of files, in both directions: upload, download, and those kept on the server."""
