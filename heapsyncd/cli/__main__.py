"""``python -m heapsyncd.cli``: the same as the ``heapsyncd`` script."""

from heapsyncd.cli.main import main

main()
