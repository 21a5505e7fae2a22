"""However the program ends: the right status, at most one line on stderr, never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from llamachat.cli import failures
from llamachat.errors import FileError, LlamachatError
from tests.cli.program import assert_one_line


def end(body: str, **how: object) -> subprocess.CompletedProcess[str]:
    """Runs ``body`` as a command in a process of its own."""
    code = (
        "import os, signal, sys\nfrom llamachat.cli.failures import run\n"
        "from llamachat.errors import *\n"
        f"def command():\n    {body}\nsys.exit(run(command))"
    )
    options: dict[str, object] = {"capture_output": True, "text": True, "timeout": 30, "check": False} | how
    return subprocess.run([sys.executable, "-c", code], **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("pass", 0, ""),
        ("return 3", 3, ""),
        ("raise FileError('a.gguf', 'is broken')", 1, "a.gguf: is broken\n"),
        ("raise LlamachatError('x\\x1b[31m\\ny')", 1, "x\ufffd[31m y\n"),
        ("open('/nonexistent/file')", 1, "/nonexistent/file: no such file\n"),
        ("raise KeyboardInterrupt", 130, ""),
        ("os.kill(os.getpid(), signal.SIGINT); signal.pause()", 130, ""),
        ("os.kill(os.getpid(), signal.SIGTERM); signal.pause()", 143, ""),
        ("os.kill(os.getpid(), signal.SIGHUP); signal.pause()", 129, ""),
        ("raise BrokenPipeError", 141, ""),
    ],
)
def test_every_end_has_its_status_and_line(body: str, status: int, message: str) -> None:
    done = end(body)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr == (f"llamachat: error: {message}" if message else "")


def test_the_unexpected_is_one_line_and_a_log(own_home: Path) -> None:
    done = end("return {}[b'\\x1b' + b'k' * 500]")
    assert done.returncode == 1
    assert_one_line(done.stderr, "an unexpected KeyError")
    log = own_home / ".local/state/llamachat/log/llamachat.log"
    assert "Traceback" in log.read_text()
    assert str(log) in end("raise KeyError").stderr


def test_without_a_log_it_is_still_one_line(own_home: Path) -> None:
    (own_home / ".local").touch()
    assert_one_line(end("raise KeyError").stderr, "an unexpected KeyError", "the log cannot be written")


def test_a_large_log_makes_room(own_home: Path) -> None:
    log = own_home / ".local/state/llamachat/log/llamachat.log"
    log.parent.mkdir(parents=True)
    log.write_text("old" * 500_000)
    end("raise KeyError")
    assert log.stat().st_size < 10_000
    assert log.with_suffix(".old.log").stat().st_size == 1_500_000


def test_an_ignored_hangup_stays_ignored() -> None:
    done = end(
        "os.kill(os.getpid(), signal.SIGHUP); print('here')",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert (done.returncode, done.stdout) == (0, "here\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which this system has not")
def test_a_full_disk_is_an_error_of_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = end("print('x')", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert_one_line(done.stderr, "no space left on device")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_trouble(closed: str, tmp_path: Path) -> None:
    script = (
        "import sys; from llamachat.cli.failures import run; sys.exit(run(lambda: print(sys.stdin.read(), end='')))"
    )
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_what_was_said_into_a_closed_output_is_an_error() -> None:
    script = "import sys; from llamachat.cli.failures import run; sys.exit(run(lambda: print('an answer')))"
    done = subprocess.run(
        ["/bin/sh", "-c", '"$0" -c "$1" >&-', sys.executable, script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert_one_line(done.stderr.decode(), "standard output: is closed")


def test_text_that_the_terminal_has_no_letters_for_is_no_trouble() -> None:
    done = end("print('caf\\u00e9 \\u4e2d')", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stdout) == (0, "caf? ?\n")


@pytest.mark.parametrize("name", ["a" * 500, "日本" * 200, "d/" * 150 + "model.gguf"])
def test_a_long_path_gives_way_and_the_reason_stays(name: str) -> None:
    line = failures.error_line(FileError(f"/start/{name}.gguf", "is a picture, no weight file"))
    assert line.endswith(".gguf: is a picture, no weight file")
    assert line.startswith("…")
    assert sum(2 if char in "日本" else 1 for char in line) <= 200 - len("llamachat: error: ")


def test_a_long_reason_is_cut_and_the_file_stays() -> None:
    line = failures.error_line(FileError("model.gguf", "x" * 500))
    assert line.startswith("model.gguf: xxx")
    assert line.endswith("…")
    assert len(line) == 200 - len("llamachat: error: ")


def test_any_message_fits_a_line() -> None:
    line = failures.error_line(LlamachatError("a\nb\x07" + "c" * 500))
    assert line.startswith("a b\ufffdccc")
    assert len(line) == 200 - len("llamachat: error: ")


def test_a_ctrl_c_while_the_program_is_imported() -> None:
    code = (
        "import os, signal, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'llamachat.cli.help': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from llamachat.__main__ import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
