"""The manual and the shells' completions, made from the tables that isadmin itself works with.

`python -m isadmin.docs` writes them to man/ and completions/, where they are kept; a test says when they are
behind. tables.py gathers what they are made from, mdoc.py lays out manual pages, pages.py and saveconfig.py
say what is on them, completions.py makes the scripts.
"""


def documents() -> dict[str, str]:
    """Every generated file: its path in the checkout, and its text."""
    from isadmin.docs import completions, pages, saveconfig

    manual = (pages.shell(), pages.conf(), saveconfig.page(), pages.userspace_target())
    return {
        **{f"man/{page.file}": str(page) for page in manual},
        "completions/isadmin.bash": completions.bash(),
        "completions/_isadmin": completions.zsh(),
        "completions/isadmin.fish": completions.fish(),
    }
