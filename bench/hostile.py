"""Hostile logs of 1 MB: the whole way from bytes to a diagnosis, each in a second of the processor at most.

The same again at a quarter of a megabyte, just below the size up to which a log is kept whole.

Run: python bench/hostile.py [SLOWEST]   (how many of the slowest are printed; default 12)
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from airflow_de_agent.core.offline import diagnose_log
from tests.hostile_logs import SIZE, hostile_logs

LIMIT = 1.0


def main(shown: int) -> None:
    diagnose_log([b"ERROR - warm up\n"])
    for size in (SIZE, SIZE // 4):
        taken: list[tuple[float, str]] = []
        for name, log in hostile_logs(size):
            start = time.process_time()
            diagnose_log([log])
            taken.append((time.process_time() - start, name))
        taken.sort(reverse=True)
        slow = sum(seconds > LIMIT for seconds, _ in taken)
        print(f"{len(taken)} logs of {size / 1e6:g} MB; slower than {LIMIT:g} s: {slow}")
        for seconds, name in taken[:shown]:
            print(f"{seconds:>7.3f} s  {name}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 12)
