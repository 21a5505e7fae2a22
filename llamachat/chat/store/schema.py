"""The database's shape, as steps from each version to the next."""

from __future__ import annotations

import sqlite3

from llamachat.errors import StoreError

#: Marks a database as this program's (``PRAGMA application_id``): "llch" in ASCII.
APPLICATION_ID = 0x6C6C6368

# Order is kept by counters (`touched`, `sequence`), never by clocks: those jump. `created` and `updated`
# are for showing. A message's `writer` is the running program that is still writing it. `checksum` lets
# a message that a failing disk changed be told from one that reads right.
_VERSION_1 = (
    """
    CREATE TABLE sessions (
        id            TEXT PRIMARY KEY,
        title         TEXT NOT NULL DEFAULT '',
        system        TEXT NOT NULL DEFAULT '',
        settings      TEXT NOT NULL DEFAULT '{}',
        model_path    TEXT NOT NULL DEFAULT '',
        prompt_format TEXT NOT NULL DEFAULT '',
        draft         TEXT NOT NULL DEFAULT '',
        created       REAL NOT NULL DEFAULT 0,
        updated       REAL NOT NULL DEFAULT 0,
        touched       INTEGER NOT NULL DEFAULT 0,
        writer        TEXT NOT NULL DEFAULT ''
    ) STRICT
    """,
    """
    CREATE TABLE messages (
        id         TEXT PRIMARY KEY,
        session_id TEXT NOT NULL,
        parent_id  TEXT,
        sequence   INTEGER NOT NULL,
        role       TEXT NOT NULL,
        text       TEXT NOT NULL,
        status     TEXT NOT NULL,
        model      TEXT NOT NULL DEFAULT '',
        vocabulary TEXT NOT NULL DEFAULT '',
        ids        BLOB,
        figures    TEXT NOT NULL DEFAULT '{}',
        created    REAL NOT NULL DEFAULT 0,
        writer     TEXT NOT NULL DEFAULT '',
        checksum   INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE INDEX sessions_by_use ON sessions (touched)",
    "CREATE INDEX messages_of_session ON messages (session_id, sequence)",
    "CREATE INDEX messages_being_written ON messages (writer) WHERE status = 'streaming'",
    """
    CREATE TABLE choices (
        session_id TEXT NOT NULL,
        parent_id  TEXT NOT NULL,
        child_id   TEXT NOT NULL,
        PRIMARY KEY (session_id, parent_id)
    ) STRICT, WITHOUT ROWID
    """,
    f"PRAGMA application_id = {APPLICATION_ID}",
)

#: ``MIGRATIONS[n]`` are the statements that lead from version n to n + 1.
MIGRATIONS: tuple[tuple[str, ...], ...] = (_VERSION_1,)


def schema_version(connection: sqlite3.Connection) -> int:
    """The version the database is in; 0 for an empty one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def migrate(connection: sqlite3.Connection, migrations: tuple[tuple[str, ...], ...] = MIGRATIONS) -> None:
    """Brings the database to the newest version: one transaction a step, the version number inside it.

    Killed at any moment, a database is in its old version or in the new one, whole. ``StoreError`` for
    a database from a newer program; it is not touched.
    """
    version = schema_version(connection)
    if version > len(migrations):
        raise StoreError(
            f"the chats were written by a newer llamachat (version {version} of the database, this one knows "
            f"{len(migrations)}): update llamachat, or name another folder with --data-dir"
        )
    for number in range(version, len(migrations)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in migrations[number]:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
