import sqlite3


def find_user(database, name):
    query = "SELECT * FROM users WHERE name = '" + name + "'"
    return sqlite3.connect(database).execute(query).fetchone()
