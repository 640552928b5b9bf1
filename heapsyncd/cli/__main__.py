"""``python -m heapsyncd.cli``: the same as the ``heapsyncd`` script."""

from heapsyncd.cli.main import main

if __name__ == "__main__":  # a helper process of the server imports this module too
    main()
