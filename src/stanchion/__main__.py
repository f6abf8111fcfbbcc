"""``python -m stanchion`` is the command ``stanchion``; ``torchrun -m stanchion train …`` needs it."""

from .cli import main

if __name__ == "__main__":
    main()
