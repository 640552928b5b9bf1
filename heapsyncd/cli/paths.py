"""Edge: paths as a user types them."""

import os
from pathlib import Path


def spellings(path: Path) -> list[str]:
    """A path as typed and as it really is: a symlink on the way to the folder is fine, one inside
    is not followed.
    """
    real = path.parent.resolve() / path.name
    return sorted({os.path.normpath(path.absolute()), str(real)})
