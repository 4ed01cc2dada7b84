"""
Asks Airflow's own secrets backends: a JSON list of questions comes in, and a JSON list of answers goes out.

ACCOUNT_FOLDER takes the place of the folder in which a pod has its service account.
"""

import functools
import importlib
import json
import os
import sys


def speak_http_to_google():
    """The double of Google's service speaks HTTP, as the service does beside gRPC; failures are those of gRPC."""
    module = importlib.import_module("airflow.providers.google.cloud._internal_client.secret_manager_client")
    module.SecretManagerServiceClient = functools.partial(module.SecretManagerServiceClient, transport="rest")
    exceptions = importlib.import_module("google.api_core.exceptions")
    codes = importlib.import_module("grpc").StatusCode

    def failure(response):
        error = response.json()["error"]
        return exceptions.from_grpc_status(codes[error["status"]], error["message"])

    exceptions.from_http_response = failure


def move_account(folder):
    config = importlib.import_module("kubernetes.config.incluster_config")
    config.SERVICE_TOKEN_FILENAME = os.path.join(folder, "token")
    config.SERVICE_CERT_FILENAME = os.path.join(folder, "ca.crt")
    module = importlib.import_module("airflow.providers.cncf.kubernetes.secrets.kubernetes_secrets_backend")
    module.KubernetesSecretsBackend.SERVICE_ACCOUNT_NAMESPACE_PATH = os.path.join(folder, "namespace")


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


questions = json.load(sys.stdin)
if any(".google." in question["class"] for question in questions):
    speak_http_to_google()
if "ACCOUNT_FOLDER" in os.environ:
    move_account(os.environ["ACCOUNT_FOLDER"])
print(json.dumps([answer(question) for question in questions]))
