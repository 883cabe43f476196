"""`soboo-mta suppression export`: a whole list, page by page, in a form that is imported."""

import csv
import json
import sys
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import partial
from typing import Annotated

import typer
from sqlalchemy import Engine

from soboo_mta.cli.context import DEFAULT_CONFIG, ConfigPath, open_store
from soboo_mta.cli.recipients.forms import COLUMNS, Whose, as_values
from soboo_mta.mail.ids import TenantId
from soboo_mta.store.writer import read_now
from soboo_mta.tenancy.accounts import parse_tenant_id
from soboo_mta.tenancy.suppression import Suppression, list_suppressions, place_in_list
from soboo_mta.tenancy.suppression.rows import BEGINNING

_PAGE = 2_000  # entries of one look into the store: none lasts long


class Form(StrEnum):
    """What `--format` may ask for."""

    CSV = "csv"
    JSON = "json"


def export(
    tenant: Whose,
    config: ConfigPath = DEFAULT_CONFIG,
    form: Annotated[
        Form, typer.Option("--format", help="CSV, or JSON: a line for each.")
    ] = Form.CSV,
) -> None:
    """Write the tenant's whole list to standard output."""
    store, tenant_id = open_store(config), parse_tenant_id(tenant)
    found = map(as_values, _all_of(store.engine, tenant_id))
    if form is Form.JSON:
        for values in found:
            sys.stdout.write(json.dumps(values, ensure_ascii=False) + "\n")
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(map(_cells, found))


def _all_of(engine: Engine, tenant: TenantId) -> Iterator[Suppression]:
    after = BEGINNING
    while True:
        page = read_now(
            engine,
            partial(list_suppressions, tenant=tenant, after=after, limit=_PAGE),
        )
        yield from page
        if len(page) < _PAGE:
            return
        after = place_in_list(page[-1])


def _cells(values: Mapping[str, object]) -> list[object]:
    evidence = json.dumps(values["evidence"]) if values["evidence"] else ""
    return [*(values[name] for name in COLUMNS[:-1]), evidence]
