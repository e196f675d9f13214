"""Helpers that block."""

import sqlite3

import httpx

from project.settings import FILE

client = httpx.AsyncClient(timeout=None)  # expect: HS305
_connection = sqlite3.connect(FILE)


def lookup(key):
    return _connection.execute("select ?", (key,))  # expect: HS101


def count():
    return total(_connection)


def total(connection: sqlite3.Connection):
    return connection.execute("select count(*)")  # expect: HS101


def unused():
    return _connection.execute("select 1")


def provide():  # expect: HS202
    connection = sqlite3.connect(FILE)
    try:
        yield connection
    finally:
        connection.close()


class Base:
    def __init__(self):
        self.connection = sqlite3.connect(FILE)

    def load(self, key):
        return self.connection.execute("select ?", (key,))  # expect: HS101


class Store(Base):
    pass


current = Store()
