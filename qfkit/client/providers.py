"""Where keys come from, beside being given: the environment, a ``.env`` file, a file of one's own, a key service.

A provider is anything that can be called and returns `Credentials`. It may hand out new keys at any time: what is under
way finishes with those it was signed with, and what is signed next has the new ones.
"""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from qfkit.client.exceptions import ConfigurationError
from qfkit.clock import Clock
from qfkit.protocol.credentials import ENVIRONMENT, Credentials

Provider: TypeAlias = Callable[[], Credentials]

#: Names a ``.env`` file, as for the official SDK (wire reference 1.1).
DOTENV_VARIABLE = "QIANFAN_DOT_ENV_CONFIG_FILE"

#: Seconds after which a provider is asked again, unless it says otherwise.
MAX_AGE = 300.0

#: What a file of keys may hold: the variables' names, or the fields'.
_NAMES = {**{variable: field for field, variable in ENVIRONMENT.items()}, **{field: field for field in ENVIRONMENT}}

#: The largest file that is read, in bytes: a wrong path is told from a key file by its size.
_MOST_BYTES = 65_536


class KeyFile:
    """Keys in a file that only its owner may read: a provider that notices when the file changes.

    The file holds ``QIANFAN_ACCESS_KEY=…`` lines as a ``.env`` file does, or a JSON object with those names or with the
    fields of `Credentials`.

    Args:
        path: the file; ``~`` is the home directory.

    Raises:
        ConfigurationError: when called, if the file cannot be read, holds no keys, or can be read or changed by others
            (POSIX permissions other than ``rw-------``).
    """

    #: It looks at the file each time, which is cheap, and reads it again when it has changed.
    max_age = 0.0

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._keys = Credentials()

    def __repr__(self) -> str:
        return f"KeyFile({str(self.path)!r})"

    def __call__(self) -> Credentials:
        """The keys that are in the file now."""
        with self._lock:
            try:
                with self.path.open("rb") as file:
                    # Of the open file: another one cannot be put in its place between the look and the reading.
                    status = os.fstat(file.fileno())
                    self._check(status)
                    version = (status.st_mtime_ns, status.st_size, status.st_ino)
                    if version != self._seen:
                        self._keys = self._read(file.read(_MOST_BYTES + 1))
                        self._seen = version
            except OSError as error:
                raise ConfigurationError(f"the key file {self.path} cannot be read: {error.strerror}") from None
            return self._keys

    def _check(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise ConfigurationError(f"the key file {self.path} is no regular file")
        if os.name == "posix" and status.st_mode & 0o077:
            raise ConfigurationError(
                f"the key file {self.path} can be read or changed by others (mode {stat.S_IMODE(status.st_mode):04o}); "
                f"keep it to yourself with: chmod 600 {self.path}"
            )
        if os.name == "posix" and status.st_uid not in {os.geteuid(), 0}:
            raise ConfigurationError(
                f"the key file {self.path} belongs to another user, who could change the keys: chown it, or copy it"
            )

    def _read(self, content: bytes) -> Credentials:
        if len(content) > _MOST_BYTES:
            raise ConfigurationError(f"the key file {self.path} is over {_MOST_BYTES} bytes: is that the right path?")
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ConfigurationError(f"the key file {self.path} is not UTF-8 text") from None
        found = _from_json(text, self.path) if text.lstrip().startswith("{") else _from_lines(text, self.path)
        keys = {_NAMES[name]: value for name, value in found.items() if name in _NAMES}
        if not keys:
            raise ConfigurationError(
                f"the key file {self.path} names none of {', '.join(ENVIRONMENT.values())}; "
                f"it has {', '.join(sorted(found)) or 'nothing'}"
            )
        return Credentials(**keys)


def _from_json(text: str, path: Path) -> dict[str, str]:
    try:
        data = json.loads(text)
    except ValueError:
        # What the decoder says quotes none of the text, but its exception holds all of it.
        raise ConfigurationError(f"the key file {path} begins as JSON and is none") from None
    return {str(name): value.strip() for name, value in data.items() if isinstance(value, str) and value.strip()}


def _from_lines(text: str, path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if not name or name.startswith("#"):
            continue
        if not equals:
            # The line itself may be a key that stands alone, so it is not quoted.
            raise ConfigurationError(f"the key file {path}, line {number}, is not NAME=value")
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        if value:
            found[name.strip()] = value
    return found


def read_dotenv(environ: Mapping[str, str], dotenv: str | Path | bool | None) -> Mapping[str, str]:
    """The environment, and below it what a ``.env`` file adds.

    Args:
        environ: wins over the file.
        dotenv: the file; True for ``.env`` in the working directory or above; False for none; None for the one that
            ``QIANFAN_DOT_ENV_CONFIG_FILE`` names, which may be missing, as for the official SDK.

    Raises:
        ConfigurationError: the file that was asked for is missing, or ``python-dotenv`` is.
    """
    named = environ.get(DOTENV_VARIABLE, "").strip()
    if dotenv is False or (dotenv is None and not (named and Path(named).is_file())):
        return environ
    try:
        from dotenv import dotenv_values, find_dotenv  # noqa: PLC0415 - optional
    except ImportError:
        raise ConfigurationError(".env files need python-dotenv: pip install 'qfkit[dotenv]'") from None
    path = find_dotenv(usecwd=True) or ".env" if dotenv is True else str(named if dotenv is None else dotenv)
    if not Path(path).is_file():
        raise ConfigurationError(f"there is no file {path}: give the path of your .env file, or leave dotenv out")
    return {**{name: value for name, value in dotenv_values(path).items() if value}, **environ}


class KeyRing:
    """The keys in use, and the provider that is asked for others. Safe for any number of threads.

    Args:
        provider: is asked at once, then when the keys are older than its ``max_age`` (an attribute, in seconds; 300
            when it has none; 0 asks before every request), and when the service refuses them.
        clock: tells their age.

    Raises:
        ConfigurationError: the provider failed, or returned something else than `Credentials`.
    """

    def __init__(self, provider: Provider, clock: Clock) -> None:
        self._provider = provider
        self._clock = clock
        self._max_age = float(getattr(provider, "max_age", MAX_AGE))
        self._asking = threading.Lock()
        self._keys = self._ask()

    def current(self) -> Credentials:
        """The keys to sign with now. While one thread asks for others, the rest go on with those there are."""
        if self._clock.monotonic() - self._asked >= self._max_age and self._asking.acquire(blocking=False):
            try:
                self._keys = self._ask()
            finally:
                self._asking.release()
        return self._keys

    def replace(self, refused: Credentials) -> bool:
        """Ask for other keys than those that the service ``refused``; False when there are none.

        However many threads were refused, the provider is asked once.
        """
        with self._asking:
            if self._keys == refused:
                self._keys = self._ask()
            return self._keys != refused

    def _ask(self) -> Credentials:
        try:
            keys = self._provider()
        except ConfigurationError:
            raise
        except Exception as error:
            raise ConfigurationError(
                f"the credentials provider {self._provider!r} failed with {type(error).__name__}; "
                "see its own exception above"
            ) from error
        if not isinstance(keys, Credentials):
            raise ConfigurationError(
                f"the credentials provider {self._provider!r} returns Credentials; got {type(keys).__name__}"
            )
        self._asked = self._clock.monotonic()
        return keys
