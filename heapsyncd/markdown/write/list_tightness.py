"""Decide which lists need no blank lines, and which form one list in a file."""

from heapsyncd.tree import LISTS, Block


def is_tight(block: Block | None) -> bool:
    """Return whether a list can be written without blank lines between its items."""
    return block is not None and all(_is_tight_item(item) for item in block.children)


def _is_tight_item(item: Block) -> bool:
    children = item.children
    if len(children) < 2:
        return not children or children[0].kind not in LISTS or is_tight(children[0])
    first, second = children[0], children[1]
    if len(children) > 2 or first.kind != "paragraph" or second.kind not in LISTS:
        return False
    # A list with a start other than 1, or with an empty first item, cannot interrupt a paragraph.
    if second.kind == "ordered_list" and second.get("start") != 1:
        return False
    return bool(second.children[0].children) or second.kind == "todo_list"


def is_one_source_list(a: Block | None, b: Block) -> bool:
    """Return whether two neighbouring lists are plain items and tasks of one source list."""
    return a is not None and {a.kind, b.kind} == {"bullet_list", "todo_list"}
