"""``python -m qfkit``."""

from qfkit.cli import main

if __name__ == "__main__":
    main(prog_name="qfkit")
