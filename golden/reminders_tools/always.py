"""Never calls a tool: the empty list for every question."""

import json
import sys

for line in sys.stdin:
    answer = {"id": json.loads(line)["id"], "text": "[]", "stop_reason": "eos", "completion_tokens": 1}
    print(json.dumps(answer), flush=True)
