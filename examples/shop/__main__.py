"""`python -m examples.shop`: start an edition of the shop, make its data, or have the slow one diagnosed."""

import argparse
import asyncio
import os
import shlex
import subprocess
import sys
from pathlib import Path

from examples.shop.data import database_path, ensure_with_notice
from examples.shop.launcher import EDITIONS, HOST, ROOT, ShopFailed, reserved_ports, run

REPORT = ROOT / "demo-report.html"
FINDINGS = 1
"""Exit code of `hasten doctor` when it found something, which is what the demonstration is for."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code is 3 when the shop cannot run."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "demo":
            return _demo()
        database = _data(options)
        if options.command == "data":
            print(database)
            return 0
        return _serve(options, database)
    except ShopFailed as error:
        print(f"shop: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.shop", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in EDITIONS:
        edition = commands.add_parser(name, help=f"start the {name} edition and run it until interrupted")
        edition.add_argument("--host", default=HOST, help=f"address that storefronts listen on (default {HOST})")
        edition.add_argument("--port", type=int, default=8000, help="public port; 0 picks a free one (default 8000)")
        edition.add_argument(
            "--storefronts",
            type=int,
            metavar="N",
            choices=range(1, 10),
            default=1,
            help="how many; the others get free ports",
        )
        edition.add_argument("--database", type=Path, help="SQLite file (default: SHOP_DATABASE, else beside the code)")
    data = commands.add_parser("data", help="make the data set, unless it is there, and print its path")
    data.add_argument("--database", type=Path, help="SQLite file (default: SHOP_DATABASE, else beside the code)")
    commands.add_parser("demo", help=f"diagnose the slow edition under load and write {REPORT.name}")
    return parser


def _data(options: argparse.Namespace) -> Path:
    """Make the data set unless it is there; return its path."""
    database = database_path(options.database, os.environ)
    try:
        ensure_with_notice(database)
    except OSError as error:
        raise ShopFailed(f"cannot make the data set {database}: {error.strerror}") from error
    return database.resolve()


def _serve(options: argparse.Namespace, database: Path) -> int:
    edition = EDITIONS[options.command].with_storefronts(options.storefronts)
    asyncio.run(run(edition, options.port, database, options.host))
    return 0


def _demo() -> int:
    ensure_with_notice(database_path(None, os.environ))  # before the doctor's clock for the start runs
    with reserved_ports(0, 1) as reserved:
        port = reserved[0]
    start = shlex.join([sys.executable, "-m", "examples.shop", "slow", "--port", str(port)])
    command = [
        *(sys.executable, "-m", "hasten", "doctor", "--start", start),
        *("--plan", "examples/shop/plan.toml", "--target", f"http://{HOST}:{port}"),
        *("--source", "examples/shop/slow", "--html", REPORT.name),
    ]
    REPORT.unlink(missing_ok=True)
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    return 0 if code == FINDINGS and REPORT.exists() else code


if __name__ == "__main__":
    sys.exit(main())
