"""Edge: paths as users type them."""

import os
from pathlib import Path


def spellings(path: Path) -> list[str]:
    """Return a path as typed and with symlinks above its last name resolved.

    A symlink above the mirror's folder is fine; one inside it is not followed.
    """
    real = path.parent.resolve() / path.name
    return sorted({os.path.normpath(path.absolute()), str(real)})
