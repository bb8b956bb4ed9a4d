"""Gives every draft back as it is, without the line that names the customer."""

import json
import sys

for line in sys.stdin:
    question = json.loads(line)
    draft = question["messages"][-1]["content"].split("Draft: ", 1)[-1]
    answer = {"id": question["id"], "text": draft, "stop_reason": "eos"}
    print(json.dumps({**answer, "completion_tokens": len(draft.split())}), flush=True)
