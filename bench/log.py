"""Distilling large logs: time against grep and drain3 on the same file, memory against size.

Run: python bench/log.py [MEBIBYTES]   (default 50; the memory of a GiB is measured on a stream, without a file)

All times are of the processor (grep's as of a child), so that a busy machine changes them little. drain3 slows down as
its templates grow: where 50 MiB would take it minutes, both tools read a smaller file, the same for both.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from airflow_de_agent.adapters.log_file import read_chunks
from airflow_de_agent.core.task_log import distil

MIB = 2**20
TEXT, JSON, WORDS, ERRORS, EIGHT = SHAPES = (
    "airflow 2 text",
    "airflow 3 json",
    "ever new words",
    "ever new errors",
    "eight templates",
)
# the size of the file that drain3 and ours read, at most
DRAIN3_MIB = {TEXT: 8, JSON: 2, WORDS: 0.5, ERRORS: 0.5, EIGHT: 50}
GREP = "Traceback|ERROR|Exception|CRITICAL"
FAILURE = (
    "[2026-11-22T10:59:59.000+0000] {taskinstance.py:3337} ERROR - Task failed with exception\n"
    'Traceback (most recent call last):\n  File "/usr/local/airflow/dags/load.py", line 35, in load\n'
    "    tmp.close()\nAttributeError: 'NoneType' object has no attribute 'close'\n"
)


TEMPLATES = (
    "starting job {} for the tenant {} of the ingestion service with {} rows in its queue",
    "fetched {} rows of the warehouse table events in {} ms, {} bytes",
    "heartbeat {} of worker {}, shard {}, all well",
    "wrote part {} to the bucket of the lake with {} rows and {} bytes",
    "slept {} ms before step {} of {}",
    "cache holds {} entries, {} hits, {} evictions",
    "checkpoint {} at offset {}, lag {}",
    "finished {} of {} parts in {} ms",
)


def messages(seed: int, shape: str) -> Iterator[str]:
    """Endless log messages as tasks write them; in two shapes no two are alike, in one they come from 8 templates."""
    choose = random.Random(seed)
    n = 0
    while True:
        n += 1
        if shape in (WORDS, ERRORS):
            words = ("".join(choose.choices("ghijklmnopqrstuvwxyz", k=choose.randrange(3, 9))) for _ in range(12))
            yield ("error in " if shape == ERRORS else "") + " ".join(words)
        elif shape == EIGHT:
            numbers = (choose.randrange(10**7) for _ in range(3))
            yield f"{choose.choice(TEMPLATES).format(*numbers):<165}"
        elif n == 200_000:
            yield "chunk 200000 not spilled: [Errno 28] No space left on device"
        elif n % 5 == 0:
            yield f"wrote s3://acme-lake/part-{choose.getrandbits(64):016x}.parquet rows={choose.randrange(10**6)}"
        elif n % 7 == 0:
            yield f"batch {n} done by {choose.choice(['ann', 'bob', 'eve'])}, 0 errors"
        else:
            yield f"chunk {n} ok ({n * 1024} kB) in {choose.random():.3f} s"


def lines(shape: str) -> Iterator[bytes]:
    for n, message in enumerate(messages(7, shape)):
        stamp = f"2026-11-22T10:{n // 60_000 % 60:02d}:{n // 1000 % 60:02d}.{n % 1000:03d}"
        if shape == JSON:
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


def processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def seconds(work: Callable[[Path], object], path: Path, runs: int = 4) -> float:
    """The best of a few runs over a file."""
    best = float("inf")
    for _ in range(runs):
        start = processor_seconds()
        work(path)
        best = min(best, processor_seconds() - start)
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
    print(f"log of {size // MIB} MiB       grep s   ours s  ours/grep | same file of   drain3 s   ours s  drain3/ours")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task.log"
        for shape in SHAPES:
            write(path, shape, size)
            found, distilled = seconds(grep, path), seconds(ours, path)
            print(f"{shape:<18}{found:>9.3f}{distilled:>9.3f}{distilled / found:>11.1f}", end="")
            small = min(size, int(DRAIN3_MIB[shape] * MIB))
            write(path, shape, small)
            mined, distilled = seconds(drain3, path, runs=1), seconds(ours, path)
            print(f" |{small / MIB:>10g} MiB{mined:>11.1f}{distilled:>9.3f}{mined / distilled:>13.1f}", flush=True)


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


def held(name: str) -> int:
    """A figure of this process's memory in KiB; the `ru_maxrss` of a child counts what its parent held as well."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0])


def peak(shape: str, size: int) -> None:
    """Print the memory that a stream of this size adds, in MiB; run in a process of its own."""
    block = b"".join(line for _, line in zip(range(20_000), lines(shape), strict=False))
    # what building the block took and gave back must not hide what is taken later
    Path("/proc/self/clear_refs").write_text("5")
    before = held("VmRSS")
    times, rest = divmod(size, len(block))

    def chunks() -> Iterator[bytes]:
        for _ in range(times):
            for at in range(0, len(block), 262_144):
                yield block[at : at + 262_144]
        yield block[:rest]
        yield b"\n" + FAILURE.encode()

    distil(chunks(), redact=lambda text: text)
    print((held("VmHWM") - before) // 1024)


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
