"""`python -m voxhint`: the command line, where no script is on the path."""

from voxhint.cli import main

if __name__ == "__main__":
    main()
