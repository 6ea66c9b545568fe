"""With SQLAlchemy's sessions."""

from __future__ import annotations

import os

from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from mainspring import Mainspring
from mainspring.testing import drain

URL = os.environ["DATABASE_URL"]
app = Mainspring(URL)
engine = create_engine(URL.replace("postgresql:", "postgresql+psycopg:"))


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "sqlalchemy_orders"
    id: Mapped[int] = mapped_column(primary_key=True)


@app.task
def send_receipt(order: int) -> str:
    return f"receipt for order {order}"


def buy(order: int, *, declined: bool = False) -> None:
    with Session(engine) as session, session.begin():
        session.add(Order(id=order))
        send_receipt.using(tx=session).enqueue(order)
        if declined:
            raise ValueError("the card was declined")


def main() -> None:
    with app:
        Base.metadata.drop_all(engine)
        Base.metadata.create_all(engine)
        buy(1)
        try:
            buy(2, declined=True)
        except ValueError as error:
            print("order 2:", error)
        with Session(engine) as session:
            print("orders:", list(session.scalars(select(Order.id))))
        print("jobs:", [job.args for job in app.jobs.find(task="send_receipt", state="queued")])
        drain(app)  # what a worker does
    engine.dispose()


if __name__ == "__main__":
    main()
