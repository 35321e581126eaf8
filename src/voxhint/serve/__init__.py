"""What does a person say of it? Hints made and masks judged in a browser, over HTTP."""

from voxhint.serve.app import make_app
from voxhint.serve.session import Session

__all__ = ["Session", "make_app"]
