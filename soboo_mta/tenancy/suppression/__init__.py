"""Recipients that a tenant's mail does not go to: the list, and a worker's view of it."""

from soboo_mta.tenancy.suppression.rows import (
    Suppression,
    add_suppressions,
    count_suppressions,
    list_suppressions,
    remove_suppression,
)
from soboo_mta.tenancy.suppression.view import Suppressions

__all__ = [
    "Suppression",
    "Suppressions",
    "add_suppressions",
    "count_suppressions",
    "list_suppressions",
    "remove_suppression",
]
