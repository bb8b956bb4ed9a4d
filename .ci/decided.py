"""Whether the newest release run is one that CI accepts: ``python .ci/decided.py [--warm]``.

CI of this repository asks whether the suite works. What the example model learns differs between CPU types,
so criteria about its answers may fail in CI's own training (DO NOT SHIP, exit status 1). What the suite
itself answers for may not: every required criterion is evaluated; those on data, export, fidelity pass.
``--warm``: the run may not have built anything, either.
"""

import json
import sys
from pathlib import Path

# What speaks of what the model learnt: its answers, and near ties that quantisation or Ollama may flip.
LEARNT = ("SC-1", "SC-2", "SC-3", "SCHEMA", "EOS", "LOSS", "SC-4.ollama")


def learnt(criterion: str) -> bool:
    """Whether a criterion is one of ``LEARNT`` or of their groups: SC-10 is not of SC-1."""
    return any(f"{criterion}.".startswith(f"{group}.") for group in LEARNT)


def main() -> int:
    results = json.loads(Path("reports/task_api/latest/results.json").read_text(encoding="utf-8"))
    gate = results["gate"]
    required = [verdict for verdict in results["verdicts"] if verdict["required"]]
    missing = [v["criterion"] for v in required if v["status"] == "NOT EVALUATED"]
    failed = [v["criterion"] for v in required if v["status"] != "PASS"]
    broken = [criterion for criterion in failed if not learnt(criterion)]
    built = [a["step"] for a in results["artifacts"] if a["built_now"]] if "--warm" in sys.argv else []
    print(f"verdict on the example model: {gate['decision']} (exit status {gate['exit_status']})")
    for reason in gate["reasons"]:
        print(f"  against shipping: {reason}")
    if missing or broken or built or gate["exit_status"] not in (0, 1):
        print(f"not accepted: not evaluated {missing}, not passed {broken}, built in a warm run {built}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
