"""Turn changes of the folder into updates of documents, and store them."""
