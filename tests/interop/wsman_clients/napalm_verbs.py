"""napalm-amt does verbs: napalm_verbs.py HOST PORT TLS USER PASSWORD VERB[=ARGUMENT]...

Prints what each has returned, or how it was refused. TLS is 0 or 1.
"""

import json
import sys

from napalm_amt import AmtDriver

host, port, tls, user, password, *verbs = sys.argv[1:]
options = {"port": int(port), "tls": tls == "1", "retries": 0}
with AmtDriver(host, user, password, optional_args=options) as driver:
    answers = []
    for verb in verbs:
        name, _, argument = verb.partition("=")
        try:
            answers.append(getattr(driver, name)(*filter(None, [argument])))
        except RuntimeError as err:
            answers.append(str(err))
print(json.dumps(answers))
