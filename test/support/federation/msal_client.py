"""Signs in to the federation double by MSAL for Python, with a user's password, and says what came of it as JSON.

Arguments: the authority (https://localhost:PORT), the tenant, the file of the authority that signed the double's
certificate, the user, the password, the scope.
"""

import json
import sys

import msal
import requests
from msal.mex import Mex

authority, tenant, authorities, user, password, scope = sys.argv[1:]
documents = []


class Loopback(requests.Session):
    """Where MSAL leaves the port out of an address, it is put in again."""

    def request(self, method, url, **options):
        answer = super().request(method, url.replace("https://localhost/", authority + "/"), **options)
        if url.endswith("/mex"):
            documents.append(answer.text)
        return answer


session = Loopback()
session.verify = authorities
session.trust_env = False
client = msal.PublicClientApplication(
    "msal-client", authority=authority + "/" + tenant, http_client=session, validate_authority=False
)
result = client.acquire_token_by_username_password(user, password, scopes=[scope])
windows = []
for document in documents:
    mex = Mex(document)
    windows += mex._get_endpoints(mex._get_bindings(), mex._get_iwa_policy_ids())
print(json.dumps({"result": result, "windows": windows}))
