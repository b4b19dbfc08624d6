"""The command line: `lockgate serve`, `lockgate check`, `lockgate certs`, `lockgate explain`, `lockgate demo`.

Exit codes: 0 after an orderly end, 1 when something failed while running, 2 for a mistake in the configuration or in the
flags, 130 after an interrupt where nothing was running yet.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

from cryptography.utils import CryptographyDeprecationWarning

from .. import __version__
from . import config
from .check import prepare
from .problems import ConfigError, Problem
from .standard_streams import have_standard_error, have_standard_output

DEFAULT_FILE = Path("lockgate.toml")
FLAGS = ("listen", "cert", "key", "backend", "route")
"""The flags that make up a configuration; a file is the other way."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    # Of certificates, with a line of our source: what a user has to know of one is among what we say ourselves.
    warnings.filterwarnings("ignore", category=CryptographyDeprecationWarning)
    have_standard_error()
    args = _parser(argv).parse_args(argv)
    if args.run is not _serve:  # which has to know that there is none: its access log may be to go there
        have_standard_output()
    try:
        return int(args.run(args))
    except ConfigError as error:
        _tell(error.problems)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1
    except Exception as error:
        print(f"lockgate: {_last_word(error)}", file=sys.stderr)
        return 1


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """For these arguments: what only other commands need is not imported. It was a third of the time of a `check`."""
    given = next((argument for argument in argv if not argument.startswith("-")), "")
    parser = argparse.ArgumentParser(
        prog="lockgate", description="A TLS-terminating reverse proxy.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"lockgate {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (text, add_arguments) in COMMANDS.items():
        command = commands.add_parser(name, help=text, allow_abbrev=False)
        if name == given:
            add_arguments(command)
    return parser


def _add_check(check: argparse.ArgumentParser) -> None:
    check.add_argument("file", type=Path, metavar="FILE", help="TOML file")
    check.set_defaults(run=_check)


def _add_certs(certs: argparse.ArgumentParser) -> None:
    from . import certs_command

    certs_command.add_arguments(certs, DEFAULT_FILE)


def _add_explain(parser: argparse.ArgumentParser) -> None:
    from . import explain

    explain.add_arguments(parser)


def _add_demo(parser: argparse.ArgumentParser) -> None:
    from . import demo

    demo.add_arguments(parser)
    parser.set_defaults(run=demo.main)


def _add_serve(serve: argparse.ArgumentParser) -> None:
    serve.description = (
        "Run the proxy until SIGTERM or SIGINT; running requests are finished then, a second signal cuts them off. "
        "What to do is in a TOML file (lockgate.toml if nothing is given), or in flags."
    )
    serve.add_argument("-c", "--config", type=Path, metavar="FILE", help="TOML file")
    flags = serve.add_argument_group("instead of a file")
    flags.add_argument("--listen", action="append", metavar="ADDRESS", help="where to serve https: 127.0.0.1:8443")
    flags.add_argument("--cert", action="append", metavar="FILE", help="PEM file with a certificate and its chain")
    flags.add_argument("--key", action="append", metavar="FILE", help="its private key, unless it is in the same file")
    flags.add_argument(
        "--backend", action="append", metavar="ADDRESS", help="server for everything without a route; several share it"
    )
    flags.add_argument(
        "--route",
        action="append",
        metavar="[HOST]/PATH=ADDRESS",
        help="server for a path and all below it: /login=127.0.0.1:9001",
    )
    both = serve.add_argument_group("these win over the file")
    both.add_argument("--adapter", choices=get_args(config.Adapter), help="what drives the sockets (default threads)")
    both.add_argument(
        "--gear", choices=get_args(config.Gear), help="how it reaches them (default auto: native where it is compiled)"
    )
    both.add_argument("--workers", type=_workers, metavar="N", help="number of processes (default one for each core)")
    both.add_argument("--admin", metavar="ADDRESS", help="where to show metrics and certificates: 127.0.0.1:9901")
    both.add_argument("--access-log", metavar="FILE", help="access log: a file, or - for standard output")
    serve.set_defaults(run=_serve)


def _workers(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1024):
        raise argparse.ArgumentTypeError("write a number from 1 to 1024")
    return int(text)


def _check(args: argparse.Namespace) -> int:
    prepared = prepare(config.read_file(args.file), ports=True)
    _tell(prepared.warnings)
    print(f"{args.file}: ok")
    return 0


def _serve(args: argparse.Namespace) -> int:
    if not hasattr(os, "fork"):
        print("lockgate: serve needs a POSIX system; the library does not (docs/architecture.md)", file=sys.stderr)
        return 1
    from .serve import run

    def read(again: bool) -> config.Draft:
        return config.override(_read(args, again), args)

    prepared = prepare(read(again=False), patient=True)
    _tell(prepared.warnings)
    return run(prepared, again=lambda: read(again=True))


def _read(args: argparse.Namespace, again: bool) -> config.Draft:
    given = [f"--{name}" for name in FLAGS if getattr(args, name)]
    if args.config is not None and given:
        problem = Problem(given[0], 0, "flags and a file cannot be mixed", f"write it into {args.config}")
        raise ConfigError([problem])
    if given:
        return config.read_flags(args)
    if args.config is None and not DEFAULT_FILE.exists():
        problem = Problem(
            "lockgate serve",
            0,
            f"there is nothing to serve, and no {DEFAULT_FILE} here",
            "give -c FILE, or --listen ADDRESS --cert FILE --key FILE --backend ADDRESS",
        )
        raise ConfigError([problem])
    return config.read_file(args.config or DEFAULT_FILE, again=again)


COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "serve": ("run the proxy", _add_serve),
    "check": ("find every mistake in a configuration file", _add_check),
    "certs": ("list certificates, the next to expire first", _add_certs),
    "explain": ("say what becomes of a request, and why", _add_explain),
    "demo": ("show everything on this machine, with two small backends", _add_demo),
}
"""For each command what it is for, and what declares its flags."""


def _tell(problems: Sequence[Problem]) -> None:
    for problem in problems:
        print(problem, file=sys.stderr)


def _last_word(error: Exception) -> str:
    """One line for an error that nobody expected: what, and where it was raised."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""
    return f"internal error, please report it: {type(error).__name__}{place}"
