"""With Django's connection, in one file; in a project of yours the settings are there already."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.db import connection, models, transaction

from mainspring import Mainspring
from mainspring.testing import drain

URL = os.environ["DATABASE_URL"]
app = Mainspring(URL)
parts = urlsplit(URL)

if not settings.configured:
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.strip("/"),
        "USER": parts.username,
        "PASSWORD": parts.password or "",
        "HOST": parts.hostname,
        "PORT": parts.port or "",
    }
    settings.configure(DATABASES={"default": database}, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField")
    django.setup()


class Order(models.Model):  # type: ignore[misc]
    class Meta:
        app_label = "shop"
        db_table = "django_orders"


@app.task
def send_receipt(order: int) -> str:
    return f"receipt for order {order}"


def buy(*, declined: bool = False) -> None:
    with transaction.atomic():
        order = Order.objects.create()
        send_receipt.using(tx=connection).enqueue(order.pk)
        if declined:
            raise ValueError("the card was declined")


def main() -> None:
    with connection.schema_editor() as editor:
        editor.execute("DROP TABLE IF EXISTS django_orders")
        editor.create_model(Order)
    with app:
        buy()
        try:
            buy(declined=True)
        except ValueError as error:
            print("order 2:", error)
        print("orders:", list(Order.objects.values_list("id", flat=True)))
        print("jobs:", [job.args for job in app.jobs.find(task="send_receipt", state="queued")])
        drain(app)  # what a worker does
    connection.close()


if __name__ == "__main__":
    main()
