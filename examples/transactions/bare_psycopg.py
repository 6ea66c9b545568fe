"""With nothing but psycopg; and a task that completes in its own transaction."""

from __future__ import annotations

import os

import psycopg

from mainspring import Context, Mainspring
from mainspring.testing import drain

URL = os.environ["DATABASE_URL"]
app = Mainspring(URL)


@app.task
def send_receipt(ctx: Context, order: int) -> str:
    with psycopg.connect(URL) as connection:
        connection.execute("UPDATE psycopg_orders SET receipt = true WHERE id = %s", [order])
        ctx.complete(f"receipt for order {order}", tx=connection)
    return ""  # what counts is what was committed


def buy(connection: psycopg.Connection, order: int, *, declined: bool = False) -> None:
    with connection.transaction():
        connection.execute("INSERT INTO psycopg_orders VALUES (%s, false)", [order])
        send_receipt.using(tx=connection).enqueue(order)
        if declined:
            raise ValueError("the card was declined")


def main() -> None:
    with app, psycopg.connect(URL, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS psycopg_orders")
        connection.execute("CREATE TABLE psycopg_orders (id integer PRIMARY KEY, receipt boolean)")
        buy(connection, 1)
        try:
            buy(connection, 2, declined=True)
        except ValueError as error:
            print("order 2:", error)
        print("jobs:", [job.args for job in app.jobs.find(task="send_receipt", state="queued")])
        drain(app)  # what a worker does
        print("orders:", connection.execute("SELECT id, receipt FROM psycopg_orders").fetchall())


if __name__ == "__main__":
    main()
