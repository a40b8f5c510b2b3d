"""PyPI's amt does verbs: amt_verbs.py URL USER PASSWORD VERB... Prints what each has returned."""

import json
import sys

from amt.client import Client

url, user, password, *verbs = sys.argv[1:]
client = Client("", password, user)
client.uri = url  # it knows two ports only
print(json.dumps([getattr(client, verb)() for verb in verbs]))
