"""Where a file's text, a document and others' edits meet. Pure: values in, values out."""
