"""Task logs of every host, distilled to the lines that carry the cause."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_de_agent.core.task_log import TaskLog, distil

SITE = "/usr/local/airflow/.local/lib/python3.11/site-packages"
HEAD = "[2026-11-22T10:08:{:02d}.775+0000] {{{}}} {} - {}"


def read(log: str | bytes, budget: int = 4000) -> TaskLog:
    return distil([log.encode() if isinstance(log, str) else log], redact=lambda text: text, budget=budget)


def line(message: str, level: str = "INFO", place: str = "load.py:12", second: int = 51) -> str:
    return HEAD.format(second, place, level, message)


def event(message: str, level: str = "info", **fields: object) -> str:
    return json.dumps(
        {"timestamp": "2026-11-22T10:08:51.775Z", "level": level, "event": message, "dag_id": "d", "task_id": "t"}
        | fields
    )


def frames(*places: tuple[str, int, str]) -> list[dict[str, object]]:
    return [{"filename": file, "lineno": number, "name": function} for file, number, function in places]


FAILED = f"""{line("Task failed with exception", "ERROR", "taskinstance.py:3337")}
Traceback (most recent call last):
  File "/usr/local/airflow/dags/load.py", line 30, in load
    total = now - start
            ~~~~^~~~~~~
TypeError: unsupported operand type(s) for -: 'str' and 'datetime'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "{SITE}/airflow/models/taskinstance.py", line 776, in _execute_task
    result = _execute_callable(context=context)
             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "{SITE}/airflow/operators/python.py", line 256, in execute_callable
    return runner.run(*self.op_args, **self.op_kwargs)
  File "{SITE}/airflow/utils/operator_helpers.py", line 252, in run
    return self.func(*args, **kwargs)
  File "/usr/local/airflow/dags/load.py", line 35, in load
    tmp.close()
AttributeError: 'NoneType' object has no attribute 'close'"""


def test_airflow_2_text_gives_the_whole_chain() -> None:
    """Of a chained traceback the first cause comes first, each link with its frames and the line that names it."""
    log = read(f"{line('start')}\n{FAILED}\n{line('Task exited with return code 1')}")
    (chain,) = log.exceptions
    assert [(link.type, link.line) for link in chain] == [("TypeError", 7), ("AttributeError", 21)]
    assert chain[0].frames[0] == ("/usr/local/airflow/dags/load.py", 30, "load", "total = now - start")
    assert chain[1].frames[-1].code == "tmp.close()"
    assert log.total_lines == 22


def test_frames_of_libraries_are_left_out() -> None:
    """The shown traceback holds user code and the exceptions; Airflow's own frames are not among them."""
    text = read(FAILED).text
    assert "line 35, in load" in text
    assert "TypeError: unsupported operand" in text
    assert 'taskinstance.py", line 776' not in text
    assert "~~~^" not in text


def test_airflow_3_json_reads_like_airflow_2() -> None:
    """An `error_detail` becomes a traceback, its causes first, all under the number of its line."""
    detail = [
        {
            "exc_type": "AttributeError",
            "exc_value": "no close",
            "is_cause": False,
            "frames": frames(("/dags/l.py", 35, "f")),
        },
        {
            "exc_type": "TypeError",
            "exc_value": "bad - now\nsecond line",
            "is_cause": False,
            "frames": frames(("/dags/l.py", 30, "f")),
        },
    ]
    log = read(
        "\n".join(
            [
                event("start", logger="task.stdout"),
                event("Task failed", "error", error_detail=detail, filename="x.py", lineno=3),
            ]
        )
    )
    (chain,) = log.exceptions
    assert [(link.type, link.message, link.line) for link in chain] == [
        ("TypeError", "bad - now\nsecond line", 2),
        ("AttributeError", "no close", 2),
    ]
    assert log.lines[0].text == "10:08:51 {task.stdout} INFO - start"
    assert log.lines[1].text == "10:08:51 {x.py:3} ERROR - Task failed"
    assert {number for number, _ in log.lines[1:]} == {2}


def test_an_exception_group_gives_its_members_as_causes() -> None:
    """Airflow 3 nests the members of a group; they come before the group itself."""
    member = [{"exc_type": "ValueError", "exc_value": "part 3", "frames": []}]
    detail = [
        {"exc_type": "ExceptionGroup", "exc_value": "2 failed", "frames": [], "is_group": True, "exceptions": [member]}
    ]
    (chain,) = read(event("failed", "error", error_detail=detail)).exceptions
    assert [link.type for link in chain] == ["ValueError", "ExceptionGroup"]


def test_extra_fields_of_an_event_are_shown() -> None:
    """What a structured message adds to its words is part of it."""
    assert "signal=-9" in read(event("Process terminated by signal", "critical", signal=-9)).text


@pytest.mark.parametrize(
    "log",
    [
        json.dumps(
            {"events": [{"timestamp": 1, "message": text, "ingestionTime": 2} for text in (line("start"), FAILED)]}
        ),
        json.dumps({"events": [{"timestamp": 1, "message": text} for text in (line("start"), FAILED)]}, indent=4),
        "\n".join(json.dumps({"timestamp": 1, "message": text}) for text in (line("start"), FAILED)),
        f"2026-11-22T10:08:51.775000+00:00 dag_id=d/attempt=1.log {line('start')}\n"
        f"2026-11-22T10:08:51.775000+00:00 dag_id=d/attempt=1.log {FAILED}",
    ],
    ids=["get-log-events compact", "get-log-events indented", "json lines", "tail"],
)
def test_cloudwatch_events_are_unwrapped(log: str) -> None:
    """Whatever way CloudWatch events were saved, the log in them is read."""
    found = read(log)
    assert [link.type for chain in found.exceptions for link in chain] == ["TypeError", "AttributeError"]
    assert "INFO - start" in found.text


def test_cloudwatch_events_of_airflow_3_are_unwrapped() -> None:
    """An Airflow 3 event inside a CloudWatch event is read as an event."""
    inner = event("Task failed", "error", error_detail=[{"exc_type": "ValueError", "exc_value": "x", "frames": []}])
    (chain,) = read(json.dumps({"timestamp": 1, "message": inner})).exceptions
    assert chain[0].type == "ValueError"


def test_the_rest_api_answer_is_read() -> None:
    """A log saved from Airflow 3's REST API has a line for each of its events."""
    content = [
        {"timestamp": "2026-11-22T10:00:00Z", "event": f"step {word}", "level": "error"} for word in ("one", "two")
    ]
    found = read(json.dumps({"content": content, "continuation_token": None}))
    assert "step one" in found.text
    assert "step two" in found.text


def test_a_traceback_printed_line_by_line_is_one() -> None:
    """BashOperator logs each line of a child's traceback as its own record; the exception is found all the same."""
    printed = [
        "Traceback (most recent call last):",
        '  File "/opt/job.py", line 3, in <module>',
        "    main()",
        "KeyError: 'day'",
    ]
    for log in (
        "\n".join(line(text, place="subprocess.py:106") for text in [*printed, "done"]),
        "\n".join(event(text, filename="subprocess.py", lineno=106) for text in [*printed, "done"]),
        "\n".join([*printed, "done"]),
    ):
        ((link,),) = read(log).exceptions
        assert (link.type, link.message, link.line) == ("KeyError", "'day'", 4)


def test_a_quoted_traceback_is_a_cause() -> None:
    """An exception whose message quotes a worker's traceback has that worker's exception as its cause."""
    log = (
        'Traceback (most recent call last):\n  File "/dags/s.py", line 1, in f\npyspark.errors.PythonException: '
        "\n  An exception was thrown from the Python worker:\nTraceback (most recent call last):\n"
        '  File "/udf.py", line 2, in g\nValueError: bad row'
    )
    (chain,) = read(line("Task failed with exception", "ERROR") + "\n" + log).exceptions
    assert [link.name for link in chain] == ["ValueError", "PythonException"]


def test_an_error_in_the_middle_survives_a_masking_cleanup() -> None:
    """Of 20,000 lines the one warning that matters is kept beside the error that ended the task."""
    rows = [line(f"chunk {n} spilled in 0.{n} s") for n in range(20_000)]
    rows[11_264] = line("chunk 11264 not spilled: [Errno 28] No space left on device", "WARNING")
    log = read("\n".join([*rows, FAILED.replace("TypeError: unsupported", "OSError: unreadable")]), budget=1000)
    assert (11_265, rows[11_264][12:20] + rows[11_264][30:]) in log.lines
    assert "AttributeError" in log.text
    assert log.total_lines == 20_020


def test_a_quiet_line_between_repeated_ones_is_found() -> None:
    """A line that says nothing loud, but only once in a long log, is shown."""
    rows = [line(f"polled job {n}") for n in range(3000)]
    rows[1500] = line("vendor delivered part one of three")
    assert "vendor delivered" in read("\n".join(rows)).text


def test_repeated_lines_are_folded_with_a_count() -> None:
    """Lines that differ in numbers only are shown once, with how many there were and where another stands."""
    log = read("\n".join(line(f"retry {n} failed: connection refused", "WARNING") for n in range(500)))
    assert log.lines[0].number == 1
    assert "499 more lines like 1" in log.text
    assert log.tokens < 150


def test_airflow_2_tells_an_exception_twice_and_we_once() -> None:
    """The traceback that Airflow 2 repeats for the job is not shown again."""
    log = read(
        FAILED + "\n" + FAILED.replace("Task failed with exception", "Failed to execute job 6 for task t (x; 30)")
    )
    assert len(log.exceptions) == 1
    assert log.text.count("AttributeError") == 1


def test_the_last_attempt_weighs_more() -> None:
    """Of several attempts in one log the last is shown first when room is short; where attempts begin is told."""
    first = line("Starting attempt 1 of 2") + "\n" + line("old trouble: quota exceeded", "ERROR")
    last = line("Starting attempt 2 of 2") + "\n" + line("new trouble: disk gone bad", "ERROR")
    assert read(first + "\n" + last).attempts == (1, 3)
    assert "new trouble" in read(first + "\n" + last, budget=25).text
    assert "old trouble" not in read(first + "\n" + last, budget=25).text


def test_host_boilerplate_is_left_out() -> None:
    """What Airflow says around every task is not shown."""
    log = read(
        "\n".join(
            [
                line("::group::Pre task execution logs"),
                line("Dependencies all met for x"),
                line("ready"),
                line("::endgroup::"),
            ]
        )
    )
    assert [text for _, text in log.lines] == ["10:08:51 {load.py:12} INFO - ready"]


def test_what_hangs_on_to_host_boilerplate_is_kept() -> None:
    """A library's own print without a head follows whatever Airflow said last; its trouble is shown."""
    log = read(line("::endgroup::") + "\n%3|1741317569|FAIL|rdkafka| SSL handshake failed\n" + line("over", "ERROR"))
    assert "SSL handshake failed" in log.text


def test_terminal_codes_progress_bars_and_nul_bytes_vanish() -> None:
    """What was meant for a terminal leaves its last state, without colours."""
    bar = b"".join(b"\r%d%%|####      | %d/100 [00:01<00:09]" % (n, n) for n in range(101))
    log = read(b"\x1b[31mERROR: red\x1b[0m\n" + bar + b"\n\0\0nu\0l\nend\r\n")
    texts = [text for _, text in log.lines]
    assert texts[0] == "ERROR: red"
    assert "100%|####      | 100/100 [00:01<00:09]" in texts
    assert "50/100" not in log.text
    assert texts[-2:] == ["nul", "end"]


def test_a_message_between_states_of_a_progress_bar_is_kept() -> None:
    """An error that a progress bar overwrote on the screen is in the log, and stays."""
    assert "disk gone" in read(b"\r10%|#  |\rERROR: disk gone\r20%|## |\r30%|###|\n").text


@pytest.mark.parametrize("end", ["\n", ""])
def test_a_line_of_megabytes_gives_its_telling_parts(end: str) -> None:
    """Of a 5 MB line the beginning, the words around an error and the end are kept."""
    log = read("begin " + "x" * 5_000_000 + " ERROR: disk full " + "y" * 2_000_000 + " end" + end + "next")
    assert "begin" in log.text
    assert "ERROR: disk full" in log.text
    assert log.tokens < 1000
    assert log.total_lines == 1 + bool(end)


def test_encodings_may_mix() -> None:
    """A Latin-1 line in a UTF-8 log is read as such."""
    text = read("naïve ".encode() + b"\nERROR caf\xe9\n").text
    assert "naïve" in text
    assert "ERROR café" in text


def test_half_a_surrogate_pair_does_not_get_through() -> None:
    """JSON can name characters that no output can hold."""
    read(event("x").replace('"x"', r'"error \ud800"')).text.encode()


def test_java_errors_keep_their_causes_not_their_frames() -> None:
    """A Java stack trace in the output leaves its exceptions."""
    stack = [
        "java.lang.RuntimeException: job aborted",
        *(f"\tat org.x.Y.m{n}(Y.java:{n})" for n in range(60)),
        "Caused by: java.lang.OutOfMemoryError: Java heap space",
        *(f"\tat org.z.Q.m{n}(Q.java:{n})" for n in range(60)),
    ]
    log = read("\n".join(line(text, place="subprocess.py:106") for text in stack))
    assert "Caused by: java.lang.OutOfMemoryError: Java heap space" in log.text
    assert log.tokens < 500


KEY = [
    "-----BEGIN RSA PRIVATE KEY-----",
    *(f"MIIEsecret{n:02d}" * 4 for n in range(25)),
    "-----END RSA PRIVATE KEY-----",
]


@pytest.mark.parametrize("before", [0, 40, 7000])
def test_a_private_key_over_many_lines_never_shows(before: int) -> None:
    """No line of a key is shown, even where only some of its lines would have been chosen."""
    rows = [
        *(f"filler line {n} with words and words and words" for n in range(before)),
        "ERROR before",
        *KEY,
        "ERROR after",
    ]
    log = distil(["\n".join(rows).encode()], redact=lambda text: text)
    assert "MIIEsecret" not in log.text
    assert "ERROR after" in log.text


@pytest.mark.parametrize("cut", [1000, 700_000, 700_030])
def test_a_key_at_the_edge_of_a_block_never_shows(cut: int) -> None:
    """Chunks and blocks may end anywhere in a key."""
    data = ("x" * 99 + "\n") * 6990 + "\n".join(KEY) + "\nERROR after\n" + ("y" * 99 + "\n") * 3000
    chunks = [data[:cut].encode(), *(data[i : i + 65_536].encode() for i in range(cut, len(data), 65_536))]
    log = distil(chunks, redact=lambda text: text)
    assert "MIIEsecret" not in log.text
    assert "ERROR after" in log.text


def test_redaction_sees_whole_lines_and_their_neighbours() -> None:
    """A secret longer than what is shown of its line, or over two lines, is replaced before anything is cut."""
    secret = "s" * 2000

    def redact(text: str) -> str:
        return text.replace(secret, "[REDACTED:x#1]").replace("left\nright", "[REDACTED:y#1]\n")

    log = distil([f"ERROR token={secret}\nleft\nright\n".encode()], redact=redact)
    assert "sss" not in log.text
    assert "left" not in log.text
    assert "right" not in log.text


def test_exceptions_are_redacted_too() -> None:
    """A secret in an exception's message is replaced in the parsed chain."""
    log = distil([FAILED.encode()], redact=lambda text: text.replace("'NoneType'", "[REDACTED:x#1]"))
    assert log.exceptions[0][1].message == "[REDACTED:x#1] object has no attribute 'close'"


def test_shown_lines_stand_in_the_log_under_their_number() -> None:
    """What follows the time of a shown line stands verbatim in the log line of its number."""
    rows = "\n".join([*(line(f"row {n}") for n in range(300)), FAILED, line("end")]).split("\n")
    for number, text in read("\n".join(rows)).lines:
        if "more lines like" not in text:
            assert re.sub(r"^\d\d:\d\d:\d\d ", "", text) in rows[number - 1]


@pytest.mark.parametrize("budget", [100, 500, 2000, 4000])
def test_the_budget_holds(budget: int) -> None:
    """However much there is to say, no more than the budget is said."""
    letters = "ghijklmnopqrstuvwxyz"
    rows = [line(f"{letters[n % 20] * (n % 13 + 1)} {letters[n % 19]} failed with error", "ERROR") for n in range(5000)]
    log = read("\n".join([*rows, FAILED]), budget)
    assert log.tokens <= budget
    assert len(log.text) <= budget * 4
    assert budget < 200 or "AttributeError" in log.text


def pieces() -> st.SearchStrategy[bytes]:
    """Bytes that logs are made of, and bytes that they are not."""
    known = [
        FAILED.encode(),
        b"\n",
        b"\r",
        b"\0",
        b"\x1b[0m",
        b'{"event":"',
        b'"error_detail":[',
        b"Traceback (most recent call last):\n",
        b'  File "x", line 1, in f\n',
        b"KeyError: 'a'\n",
        b"-----BEGIN PRIVATE KEY-----\n",
        b"-----END PRIVATE KEY-----",
        b"\xff\xfe",
        b"{",
        b"[2026-11-22T10:08:51.775+0000] {",
        event(
            "x", error_detail=[{"exc_type": None, "exc_value": 3, "frames": None, "exceptions": [1, [{}]]}, 5]
        ).encode()
        + b"\n",
        event("x", error_detail={}, filename=3, lineno={}, level=None).encode() + b"\n",
        b'{"message": 3}\n',
        b'{"event": null}\n',
        b'{"events": [{',
        b"\xe2\x8f",
        b"x" * 70_000,
    ]
    return st.lists(st.sampled_from(known) | st.binary(max_size=200), max_size=30).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(pieces(), st.integers(1, 5000))
def test_any_bytes_in_any_chunks_give_a_log(data: bytes, size: int) -> None:
    """Whatever is read, in whatever pieces, there is a distilled log of at most the budget, the same each time."""
    chunks = [data[i : i + size] for i in range(0, len(data), size)]
    log = distil(chunks, redact=lambda text: text, budget=1000)
    assert log.tokens <= 1000
    assert log == distil([data], redact=lambda text: text, budget=1000)
    assert all("\n" not in text for _, text in log.lines)
    log.text.encode()


def test_a_log_of_any_length_is_read_as_a_stream() -> None:
    """Nothing of a long log is asked for twice, and its end is known exactly."""

    def chunks() -> Iterator[bytes]:
        for n in range(40):
            yield "".join(line(f"row {n} {i}") + "\n" for i in range(1000)).encode()
        yield FAILED.encode()

    log = distil(chunks(), redact=lambda text: text)
    assert log.total_lines == 40_020
    assert log.exceptions[0][-1].line == 40_019 + 1
