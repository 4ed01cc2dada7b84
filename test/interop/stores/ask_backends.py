"""Asks Airflow's own secrets backends: a JSON list of questions comes in, and a JSON list of answers goes out."""

import importlib
import json
import sys


def answer(question):
    module, name = question["class"].rsplit(".", 1)
    try:
        backend = getattr(importlib.import_module(module), name)(**question["kwargs"])
        if question["kind"] != "connection":
            return {"value": getattr(backend, f"get_{question['kind']}")(question["id"])}
        found = backend.get_connection(question["id"])
    except Exception as error:
        return {"error": type(error).__name__}
    if found is None:
        return {"value": None}
    parts = ("conn_type", "host", "login", "password", "schema", "port")
    return {"value": {part: getattr(found, part) for part in parts} | {"extra": found.extra_dejson}}


print(json.dumps([answer(question) for question in json.load(sys.stdin)]))
