"""Whether the newest release run reached a verdict on complete evidence: ``python .ci/decided.py [--warm]``.

CI of this repository asks whether the suite works. SHIP and DO NOT SHIP are both verdicts; a run that was
incomplete, inconclusive or broken is none. ``--warm``: the run may not have built anything, either.
"""

import json
import sys
from pathlib import Path


def main() -> int:
    results = json.loads(Path("reports/task_api/latest/results.json").read_text(encoding="utf-8"))
    gate = results["gate"]
    required = [verdict for verdict in results["verdicts"] if verdict["required"]]
    missing = [v["criterion"] for v in required if v["status"] == "NOT EVALUATED"]
    built = [a["step"] for a in results["artifacts"] if a["built_now"]] if "--warm" in sys.argv else []
    print(f"verdict on the example model: {gate['decision']} (exit status {gate['exit_status']})")
    for reason in gate["reasons"]:
        print(f"  against shipping: {reason}")
    if missing or built or gate["exit_status"] not in (0, 1):
        print(f"no valid run: not evaluated {missing}, built in a warm run {built}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
