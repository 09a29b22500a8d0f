"""``python -m tests.audit FILE ...``: known vulnerabilities of pinned requirements, by pip-audit.

Ends with 1 if there are any. What could not be asked, for want of the service or of an answer, is said aloud and is no
failure: no package is at fault for it.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WITHIN = 300  # seconds


def audit(files: Sequence[str]) -> int:
    command = [str(Path(sys.executable).with_name("pip-audit")), "--no-deps", "--disable-pip", "--format", "json"]
    named = [part for file in files for part in ("--requirement", file)]
    try:
        done = subprocess.run([*command, *named], capture_output=True, text=True, timeout=WITHIN, check=False)
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return _not_asked(f"no answer within {WITHIN} s")
    except ValueError:
        return _not_asked(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no answer")
    return tell(found)


def tell(found: Sequence[dict[str, Any]]) -> int:
    """Say what was found of each package; 1 if one is vulnerable."""
    vulnerable = [package for package in found if package.get("vulns")]
    for package in vulnerable:
        for fault in package["vulns"]:
            fixed = ", ".join(fault["fix_versions"]) or "none yet"
            print(f"{package['name']} {package['version']}: {fault['id']}; fixed in {fixed}")
    skipped = [package["name"] for package in found if "skip_reason" in package]
    if skipped:
        _not_asked(f"{len(skipped)} of {len(found)} packages are not known to the service")
    print(f"{len(found) - len(skipped)} packages were audited, {len(vulnerable)} are vulnerable.")
    return 1 if vulnerable else 0


def _not_asked(reason: str) -> int:
    print(f"\nNOT AUDITED: {reason}. This says nothing of the packages.\n", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(audit(sys.argv[1:]))
