"""The programs in examples/transactions do what their README says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("program", "orders"),
    [("bare_psycopg", "[(1, True)]"), ("with_sqlalchemy", "[1]"), ("with_django", "[1]")],
)
def test_one_order_is_stored_with_its_job_and_the_other_one_is_not(postgres: str, program: str, orders: str) -> None:
    database = f"examples_{program}"
    url = f"{postgres.rpartition('/')[0]}/{database}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {database}")
        try:
            environment = os.environ | {"DATABASE_URL": url}
            migrate = [sys.executable, "-m", "mainspring", "migrate", "--url", url]
            subprocess.run(migrate, env=environment, check=True, capture_output=True, timeout=60)
            done = subprocess.run(
                [sys.executable, "-W", "error", ROOT / "examples" / "transactions" / f"{program}.py"],
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
            )
        finally:
            connection.execute(f"DROP DATABASE {database} WITH (FORCE)")
    assert (done.returncode, done.stderr) == (0, "")
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert lines == {"order 2": "the card was declined", "orders": orders, "jobs": "[{'order': 1}]"}
