"""The program: its options before the command, its commands, its errors.

One function runs a command line and turns whatever ends it into one message
and one exit code; the commands themselves only raise.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TextIO

import typer

from holdfast.cli import (
    bench,
    billing,
    configuring,
    demo,
    guards,
    maintenance,
    objects,
    proofs,
    searching,
    serving,
    sharing,
    tokens,
    transfer,
)
from holdfast.cli.exits import ExitCode, exit_code
from holdfast.cli.options import AsJson, Settings, StoreOptions, Sync, folder, parse_size
from holdfast.cli.output import Output, flush_results, to_json
from holdfast.cli.signals import ended_by
from holdfast.cli.version import version_line
from holdfast.errors import HoldfastError
from holdfast.extras import wanted

_UsageProblem: type[Exception] = typer.BadParameter.__mro__[1]  # typer gives it no public name

_PROGRAM = "holdfast"
_COMPLETION = "_HOLDFAST_COMPLETE"
_DATA_DIRS = "HOLDFAST_DATA_DIRS"

app = typer.Typer(
    name=_PROGRAM,
    no_args_is_help=True,
    epilog="Exit codes: 0 done, 1 unexpected, 2 usage, 3 correct the request, 4 not found, "
    "5 wait and try again, 6 stop trusting, 7 pay.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A key/object store in a folder. Examples: docs/CLI.md.",
)


def _show_version(asked: bool) -> None:  # noqa: FBT001 - typer calls it so
    if asked:
        sys.stdout.write(version_line())
        raise typer.Exit


@app.callback()
def begin(
    context: typer.Context,
    *,
    as_json: AsJson = False,
    sync: Annotated[
        Sync | None,
        typer.Option(envvar="HOLDFAST_SYNC", help="When a write is answered; default always."),
    ] = None,
    bucket_bytes: Annotated[
        str | None,
        typer.Option(
            envvar="HOLDFAST_BUCKET_BYTES", metavar="SIZE", help="Bound of a bucket, as 64MiB."
        ),
    ] = None,
    index_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="HOLDFAST_INDEX_DIR",
            metavar="FOLDER",
            help="Where keys lie, if not in PATH.",
            parser=folder,
        ),
    ] = None,
    data_dir: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help=f"Where values lie, if not in PATH; may be repeated; else {_DATA_DIRS}.",
            parser=folder,
        ),
    ] = None,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and end."
        ),
    ] = False,
) -> None:
    """Read the options that stand before the command's name."""
    store = StoreOptions(
        sync=sync,
        bucket_bytes=parse_size(bucket_bytes) if bucket_bytes else None,
        index_dir=index_dir,
        data_dirs=tuple(data_dir or _data_dirs_of_environment()),
    )
    context.obj = Settings(as_json=as_json, store=store)


def _data_dirs_of_environment() -> list[Path]:
    """As a shell's PATH has them; typer would end a folder's name at a blank."""
    said = os.environ.get(_DATA_DIRS)
    try:
        return [folder(one) for one in said.split(os.pathsep)] if said else []
    except typer.BadParameter as refused:
        raise typer.BadParameter(refused.message, param_hint=_DATA_DIRS) from None


for _room in (
    demo,
    objects,
    guards,
    transfer,
    maintenance,
    proofs,
    serving,
    configuring,
    searching,
    sharing,
    tokens,
    billing,
    bench,
):
    _room.register(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns the exit code and never raises.

    Args:
        arguments: what follows the program's name.
    """
    _stand_in_for_closed_streams()
    _write_whole()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal's encoding lacks is escaped, not a failure.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(list(arguments))
        _write_what_is_left()
    except BrokenPipeError:
        pass
    except SystemExit as ended:  # what draws tables would end the process by itself
        if not isinstance(ended.__context__, BrokenPipeError):
            raise
    except KeyboardInterrupt:  # behind the command's end
        return ExitCode.INTERRUPTED
    else:
        return code
    _forget_stdout()
    return ExitCode.PIPE_CLOSED


def _stand_in_for_closed_streams() -> None:
    """Have standard streams that the caller closed lead nowhere.

    Else the store's own files get their numbers, and what anybody prints lands in a log.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
    sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()


def _write_whole() -> None:
    """Have what is printed written to its end where Python does not buffer (PYTHONUNBUFFERED).

    Its text streams pass over what the system took only a part of.
    """
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper) and isinstance(stream.buffer, io.RawIOBase):
        whole = io.BufferedWriter(stream.buffer)
        sys.stdout = io.TextIOWrapper(whole, stream.encoding, stream.errors, line_buffering=True)


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


def _write_what_is_left() -> None:
    """Write what is buffered; what cannot be written was told as the command ended."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError:
        _forget_stdout()


def _run(arguments: list[str]) -> int:
    as_json = "--json" in arguments[: _end_of_options(arguments)]
    if _COMPLETION in os.environ:  # the shell asks what could come next
        app(arguments, prog_name=_PROGRAM)
    command = typer.main.get_command(app)
    try:
        # Not command.main(): that ends the process by itself when a pipe closes.
        with command.make_context(_PROGRAM, arguments) as context:
            command.invoke(context)
        flush_results()
    except typer.Exit as ended:
        return ended.exit_code
    except _UsageProblem as problem:
        return _tell_usage(problem, as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        return _tell_interrupted(as_json=as_json)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the last door: whatever it is gets told
        return _tell_failure(error, as_json=as_json)
    return ExitCode.OK


def _end_of_options(arguments: list[str]) -> int:
    return arguments.index("--") if "--" in arguments else len(arguments)


def _tell_usage(problem: Exception, *, as_json: bool) -> int:
    if isinstance(problem, typer.BadParameter):
        problem.message = problem.message.removeprefix("Value error, ")  # pydantic's, not a word
    if as_json:
        text = getattr(problem, "format_message", problem.__str__)()
        sys.stderr.write(to_json({"error": "usage", "message": text}, sys.stderr) + "\n")
    else:
        getattr(problem, "show", lambda: sys.stderr.write(f"{problem}\n"))()
    return ExitCode.USAGE


def _tell_failure(error: Exception, *, as_json: bool) -> int:
    ended = ended_by(error)
    if ended == ExitCode.INTERRUPTED:
        return _tell_interrupted(as_json=as_json)
    if ended is not None:
        return ended
    if isinstance(error, HoldfastError):
        Output(as_json=as_json).error(error)
        return exit_code(error)
    return _tell_unexpected(error, as_json=as_json)


def _tell_interrupted(*, as_json: bool) -> int:
    Output(as_json=as_json).error(KeyboardInterrupt())
    return ExitCode.INTERRUPTED


def _tell_unexpected(error: Exception, *, as_json: bool) -> int:
    if isinstance(error, ModuleNotFoundError) and (extra := wanted(error)):
        needs = f"this command needs: pip install '{extra}'"
        return _tell_usage(_UsageProblem(needs), as_json=as_json)
    if not as_json:
        sys.stderr.write("".join(traceback.format_exception(error)))
    Output(as_json=as_json).error(error)
    return ExitCode.UNEXPECTED


def _forget_stdout() -> None:
    """Point standard output at nothing, so the interpreter's last flush stays quiet."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, sys.stdout.fileno())
    os.close(sink)
