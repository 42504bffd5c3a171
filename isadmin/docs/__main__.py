"""`python -m isadmin.docs [DIRECTORY]`: write man/ and completions/ anew, in the checkout's directory."""

import sys
from pathlib import Path

from isadmin.docs import documents


def main(directory: Path) -> None:
    """Write every document that differs from what is there."""
    for name, text in documents().items():
        file = directory / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            print(file)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2])
