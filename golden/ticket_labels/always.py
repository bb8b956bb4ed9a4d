"""Says the same of every ticket: the label and priority that are the most usual guess."""

import json
import sys

for line in sys.stdin:
    text = json.dumps({"label": "question", "priority": "low"})
    answer = {"id": json.loads(line)["id"], "text": text, "stop_reason": "eos", "completion_tokens": 1}
    print(json.dumps(answer), flush=True)
