"""``python -m stanchion`` is the command ``stanchion``; ``torchrun -m stanchion train …`` needs it."""

from .cli.app import app

app()
