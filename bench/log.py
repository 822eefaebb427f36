"""Distilling large logs: time against grep and drain3 on the same file, memory against size.

Run: python bench/log.py [MEBIBYTES]   (default 50; the memory of a GiB is measured on a stream, without a file)
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from airflow_de_agent.adapters.log_file import read_chunks
from airflow_de_agent.core.task_log import distil

MIB = 2**20
DRAIN3_BYTES = MIB // 4
SHAPES = ("airflow 2 text", "airflow 3 json", "ever new words")
GREP = "Traceback|ERROR|Exception|CRITICAL"
FAILURE = (
    "[2026-11-22T10:59:59.000+0000] {taskinstance.py:3337} ERROR - Task failed with exception\n"
    'Traceback (most recent call last):\n  File "/usr/local/airflow/dags/load.py", line 35, in load\n'
    "    tmp.close()\nAttributeError: 'NoneType' object has no attribute 'close'\n"
)


def messages(seed: int, words_only: bool) -> Iterator[str]:
    """Endless log messages as tasks write them; in one shape no two are alike."""
    choose = random.Random(seed)
    n = 0
    while True:
        n += 1
        if words_only:
            yield " ".join("".join(choose.choices("ghijklmnopqrstuvwxyz", k=choose.randrange(3, 9))) for _ in range(12))
        elif n == 200_000:
            yield "chunk 200000 not spilled: [Errno 28] No space left on device"
        elif n % 5 == 0:
            yield f"wrote s3://acme-lake/part-{choose.getrandbits(64):016x}.parquet rows={choose.randrange(10**6)}"
        elif n % 7 == 0:
            yield f"batch {n} done by {choose.choice(['ann', 'bob', 'eve'])}, 0 errors"
        else:
            yield f"chunk {n} ok ({n * 1024} kB) in {choose.random():.3f} s"


def lines(shape: str) -> Iterator[bytes]:
    for n, message in enumerate(messages(7, shape == SHAPES[2])):
        stamp = f"2026-11-22T10:{n // 60_000 % 60:02d}:{n // 1000 % 60:02d}.{n % 1000:03d}"
        if shape == SHAPES[1]:
            yield (
                f'{{"timestamp":"{stamp}Z","level":"info","event":"{message}","logger":"task.stdout","dag_id":"sales",'
                f'"task_id":"load","ti_id":"01a202b8-d094-7d26-9e06-f3d3bf6d5342","try_number":1,"map_index":-1}}\n'
            ).encode()
        else:
            yield f"[{stamp}+0000] {{load.py:28}} INFO - {message}\n".encode()


def write(path: Path, shape: str, size: int) -> None:
    written = 0
    with path.open("wb") as file:
        for line in lines(shape):
            written += file.write(line)
            if written >= size:
                break
        file.write(FAILURE.encode())


def seconds(work: Callable[[Path], object], path: Path, runs: int = 3) -> float:
    """The best of a few runs over a file."""
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        work(path)
        best = min(best, time.perf_counter() - start)
    return best


def grep(path: Path) -> None:
    subprocess.run(["grep", "-c", "-E", GREP, str(path)], stdout=subprocess.PIPE, check=False)


def drain3(path: Path) -> None:
    from drain3 import TemplateMiner
    from drain3.template_miner_config import TemplateMinerConfig

    miner = TemplateMiner(config=TemplateMinerConfig())
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            miner.add_log_message(line.rstrip())


def ours(path: Path) -> None:
    distil(read_chunks(path), redact=lambda text: text)


def times(size: int) -> None:
    print(f"log of {size // MIB} MiB       grep s   ours s  ours/grep  drain3 s  drain3/ours")
    with tempfile.TemporaryDirectory() as folder:
        path, part = Path(folder) / "task.log", Path(folder) / "part.log"
        for shape in SHAPES:
            write(path, shape, size)
            # drain3 is slow: it gets a part, and its time is scaled up as if it grew linearly
            write(part, shape, DRAIN3_BYTES)
            found, distilled = seconds(grep, path), seconds(ours, path)
            mined = seconds(drain3, part, runs=1) * size / DRAIN3_BYTES
            print(f"{shape:<18}{found:>9.3f}{distilled:>9.3f}{distilled / found:>11.1f}", end="")
            print(f"{mined:>10.1f}{mined / distilled:>13.1f}", flush=True)


def growth() -> None:
    print(f"\n{'ours, by size':<18}{'12 MiB':>9}{'25 MiB':>9}{'50 MiB':>9}   seconds")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task.log"
        for shape in SHAPES:
            taken = []
            for size in (12, 25, 50):
                write(path, shape, size * MIB)
                taken.append(seconds(ours, path))
            print(f"{shape:<18}" + "".join(f"{value:>9.3f}" for value in taken))


def peak(shape: str, size: int) -> None:
    """Print the memory that a stream of this size adds, in MiB; run in a process of its own."""
    block = b"".join(line for _, line in zip(range(20_000), lines(shape), strict=False))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times, rest = divmod(size, len(block))

    def chunks() -> Iterator[bytes]:
        for _ in range(times):
            for at in range(0, len(block), 262_144):
                yield block[at : at + 262_144]
        yield block[:rest]
        yield b"\n" + FAILURE.encode()

    distil(chunks(), redact=lambda text: text)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)


def memory() -> None:
    print(f"\n{'memory added':<18}{'50 MiB':>9}{'1 GiB':>9}   MiB")
    for shape in SHAPES:
        grown = [
            int(subprocess.check_output([sys.executable, __file__, "--peak", shape, str(size)]))
            for size in (50 * MIB, 1024 * MIB)
        ]
        print(f"{shape:<18}" + "".join(f"{value:>9}" for value in grown))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        peak(sys.argv[2], int(sys.argv[3]))
    else:
        times(int(sys.argv[1]) * MIB if sys.argv[1:] else 50 * MIB)
        growth()
        memory()
