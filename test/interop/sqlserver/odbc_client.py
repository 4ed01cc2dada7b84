"""Microsoft's ODBC driver 18, driven by lines through mssql-python: see clients.ts."""

import datetime
import decimal
import json
import os
import struct
import sys
import threading
import uuid
from urllib.parse import unquote

import mssql_python

SQL_COPT_SS_ACCESS_TOKEN = 1256
SQL_COPT_SS_MARS_ENABLED = 1224
SQL_MARS_ENABLED_YES = 1

connection = None


def text_of(value):
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex()
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, datetime.datetime):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, uuid.UUID):
        return str(value).upper()
    return str(value)


def value_of(word):
    kind, _, value = word.partition(":")
    if kind == "null":
        return None
    readers = {
        "int": int,
        "bigint": int,
        "float": float,
        "decimal": decimal.Decimal,
        "bit": lambda one: one == "1",
        "bytes": bytes.fromhex,
        "date": datetime.date.fromisoformat,
    }
    return readers.get(kind, str)(value)


def results(cursor):
    parts = []
    while True:
        if cursor.description is not None:
            parts.append({"rows": [[text_of(value) for value in row] for row in cursor.fetchall()]})
        elif cursor.rowcount >= 0:
            parts.append({"count": cursor.rowcount})
        if not cursor.nextset():
            break
    return {"results": parts, "notices": [message for _, message in cursor.messages or []]}


def names(found):
    return {"results": [{"rows": [[name] for name in found]}]}


def run(verb, words):
    global connection
    if verb == "connect":
        if connection is not None:
            connection.close()
        connection = None
        before = {}
        if len(words) > 1:
            token = words[1].encode("utf-16-le")
            before[SQL_COPT_SS_ACCESS_TOKEN] = struct.pack("<I", len(token)) + token
        # mssql-python refuses the keyword, and passes on the attribute that it stands for.
        text = words[0].replace("MARS_Connection=yes;", "")
        if text != words[0]:
            before[SQL_COPT_SS_MARS_ENABLED] = SQL_MARS_ENABLED_YES
        connection = mssql_python.connect(text, autocommit=True, timeout=0, attrs_before=before)
        return {}
    if verb == "close":
        connection.close()
        return {}
    if verb == "begin":
        connection.autocommit = False
        return {}
    if verb in ("commit", "rollback"):
        getattr(connection, verb)()
        connection.autocommit = True
        return {}
    connection.timeout = 1 if verb == "timeout" else 0
    cursor = connection.cursor()
    try:
        if verb in ("run", "timeout"):
            cursor.execute(words[0])
            return results(cursor)
        if verb == "execute":
            cursor.execute(words[0], [value_of(word) for word in words[1:]])
            return results(cursor)
        if verb == "repeat":
            answers = []
            for word in words[1:]:
                cursor.execute(words[0], [value_of(word)])
                answers.append(results(cursor))
            return {"answers": answers}
        if verb == "batch":
            cursor.executemany(words[0], [[value_of(word)] for word in words[1:]])
            return {"changed": cursor.rowcount}
        if verb == "cancel":
            timer = threading.Timer(1, cursor.cancel) if hasattr(cursor, "cancel") else None
            if timer is None:
                return {"unsupported": True}
            timer.start()
            cursor.execute(words[0])
            return results(cursor)
        if verb == "tables":
            return names([row.table_name for row in cursor.tables(table=words[0], schema="dbo", tableType="TABLE")])
        if verb == "types":
            return names([row.type_name for row in cursor.getTypeInfo()])
        if verb == "mars":
            # Two results are read by turns.
            other = connection.cursor()
            cursor.execute(words[0])
            other.execute(words[1])
            found = []
            for _ in range(3):
                found += [[text_of(cursor.fetchone()[0])], [text_of(other.fetchone()[0])]]
            other.close()
            return {"results": [{"rows": found}]}
        if verb == "leave":
            cursor.execute(words[0])
            return {"first": text_of(cursor.fetchone()[0])}
        if verb == "count":
            cursor.execute(words[0])
            return {"rows": len(cursor.fetchall())}
        raise ValueError(verb)
    finally:
        cursor.close()


for line in sys.stdin:
    verb, *words = [unquote(word) for word in line.rstrip("\n").split(" ")]
    try:
        answer = run(verb, words)
    except Exception as error:  # each kind is reported, and the next line is read
        number = getattr(error, "native_error", None) or -1
        answer = {"error": number, "message": str(error)}
    print(json.dumps(answer), flush=True)
# The driver's threads do not keep a finished client.
sys.stdout.flush()
os._exit(0)
