"""Which layer of the server a stack sample belongs to."""

from collections.abc import Sequence

LOOP = "event loop"
FRAMEWORK = "uvicorn, starlette"
OTHER = "other"

_LOOP_MODULES = ("asyncio", "uvloop", "selectors")
_FRAMEWORK_MODULES = ("uvicorn", "starlette", "fastapi", "anyio")


def layer_of(modules: Sequence[str]) -> str:
    """The layer to charge for a stack, given its module names, innermost first.

    The innermost frame of Waypost decides, so what the standard library or SQLite do for a layer
    is that layer's cost. Without one it is the server framework, the event loop, or other.
    """
    for module in modules:
        if module.startswith("waypost."):
            return module.split(".")[1]
    roots = [module.partition(".")[0] for module in modules]
    if any(root in _FRAMEWORK_MODULES for root in roots[:1]):
        return FRAMEWORK
    if not roots or any(root in _LOOP_MODULES for root in roots):
        return LOOP
    return OTHER
