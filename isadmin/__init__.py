"""isadmin: an admin shell for the Linux LIO target, and a userspace target for when there is none.

The map of the house:

    cli.py        the command line: options; one-shot, batch or REPL; exit status
    errors.py     the exception tree; each class carries its exit status
    light.py      what every command needs of the standard library, quick to import
    lio/          LIO as it is: the only package that touches configfs (as rtslib-fb does, or through it)
    config/       a configuration as a value, and the files it is kept in
    shell/        what the user types and sees
    userspace/    LIO without the kernel: configfs over FUSE, disks over iSCSI
    docs/         generators of man pages and completions, from the same tables

Imports point one way: cli -> shell -> config, lio -> errors; lio -> config.model; userspace stands alone.
"""

__version__ = "0.1.0"
