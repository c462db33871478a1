"""Settings read from the environment; a wrong one stops the start with what came and what would be right."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

ROOT = Path(__file__).resolve().parents[3]


class BadSetting(SystemExit):
    """A setting is missing or wrong: printed as one line, exit status 1."""

    def __init__(self, name: str, came: str, right: str) -> None:
        super().__init__(f"zhenan: setting {name}: {came}; {right}")


@dataclass(frozen=True)
class Engines:
    """Addresses of the engines that this process talks to."""

    database_url: str
    nats_url: str
    mqtt_url: str
    history_url: str


def data_dir() -> Path:
    """Folder of everything the embedded engines and uploads keep; made when missing."""
    path = Path(os.environ.get("ZHENAN_DATA") or ROOT / ".data").expanduser().resolve()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise BadSetting(
            "ZHENAN_DATA", f"cannot make folder {path} ({err.strerror})", "name a writable folder"
        ) from err
    return path


def engines_file() -> Path:
    """Where the embedded engines write their addresses while they run."""
    return data_dir() / "run" / "engines.json"


def engines() -> Engines:
    """Addresses from the environment, else from the embedded engines' file, else empty strings."""
    running: dict[str, str] = {}
    if engines_file().exists():
        try:
            running = json.loads(engines_file().read_text("utf-8"))
        except ValueError as err:
            raise BadSetting(
                "ZHENAN_DATA", f"{engines_file()} is not JSON ({err})", "delete it and start again"
            ) from err
    return Engines(
        database_url=os.environ.get("DATABASE_URL") or running.get("database_url", ""),
        nats_url=os.environ.get("NATS_URL") or running.get("nats_url", ""),
        mqtt_url=os.environ.get("MQTT_URL") or running.get("mqtt_url", ""),
        history_url=os.environ.get("HISTORY_URL") or str(data_dir() / "history"),
    )


def django_database(url: str) -> dict[str, object]:
    """Django's DATABASES entry for a postgresql:// address.

    An empty address gives an entry that fails at the first query, so that commands which need no database still run.
    """
    if not url:
        return {"ENGINE": "django.db.backends.postgresql", "NAME": "zhenan", "HOST": "database-url-is-not-set"}
    known = connection(url)
    # The web process answers each request in a thread of its own: connections come from a pool of this size.
    pool = number("ZHENAN_DATABASE_POOL", default=0)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": known.pop("dbname"),
        "USER": known.pop("user", ""),
        "PASSWORD": known.pop("password", ""),
        "HOST": known.pop("host", ""),
        "PORT": known.pop("port"),
        "CONN_MAX_AGE": 0 if pool else 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"application_name": "zhenan", **known}
        | ({"pool": {"min_size": 1, "max_size": pool, "timeout": 10}} if pool else {}),
    }


# A server that vanished without a word (a machine without power, a link that was cut) is noticed within ten seconds or
# so: without these the kernel would wait for its answer for a quarter of an hour.
_NOTICED = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}


def connection(url: str) -> dict[str, str]:
    """What psycopg is told of a postgresql:// address. It may name several servers (`@a:5432,b:5432/`): the one that
    takes writes is used. Raises BadSetting."""
    try:
        found = {key: str(value) for key, value in conninfo_to_dict(url).items()}
    except psycopg.Error:
        found = {}
    if not url.startswith(("postgresql://", "postgres://")) or not found.get("dbname"):
        scheme, _, rest = url.partition("://")
        raise BadSetting(
            "DATABASE_URL",
            f"came {scheme}://{rest.rpartition('@')[2]}",  # never the password
            "want postgresql://user:password@host:port/name",
        )
    ports = [port or "5432" for port in found.get("port", "").split(",")]
    found["port"] = ",".join(ports)
    if "," in found.get("host", ""):
        found.setdefault("target_session_attrs", "read-write")
    return {**_NOTICED, **found}


def number(name: str, *, default: int) -> int:
    """A setting that is a whole number, zero or more."""
    raw = os.environ.get(name, "").strip()
    if not raw:
        return default
    if not raw.isdigit():
        raise BadSetting(name, f"came {raw!r}", "want a whole number such as 20")
    return int(raw)


def flag(name: str, *, default: bool) -> bool:
    """A yes/no setting: 1, true, yes, on or 0, false, no, off."""
    raw = os.environ.get(name, "").strip().lower()
    if raw == "":
        return default
    if raw in ("1", "true", "yes", "on"):
        return True
    if raw in ("0", "false", "no", "off"):
        return False
    raise BadSetting(name, f"came {raw!r}", "want 1 or 0")


def names(name: str, default: str) -> list[str]:
    """A comma-separated list setting."""
    return [part.strip() for part in os.environ.get(name, default).split(",") if part.strip()]


def secret_key() -> str:
    """ZHENAN_SECRET_KEY, or one made once and kept in the data folder (readable by the owner alone)."""
    given = os.environ.get("ZHENAN_SECRET_KEY", "")
    if given:
        if len(given) < 32:
            raise BadSetting("ZHENAN_SECRET_KEY", f"came {len(given)} characters", "want 32 or more, random")
        return given
    path = data_dir() / "secret.key"
    if not path.exists():
        import secrets

        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_urlsafe(48), "ascii")
        try:
            os.link(fresh, path)  # the first of several processes wins; the others read its key
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text("ascii").strip()
