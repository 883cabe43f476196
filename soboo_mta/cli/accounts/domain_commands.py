"""`soboo-mta domain`: its commands in one place."""

from soboo_mta.cli.accounts.domain import app
from soboo_mta.cli.accounts.preflight import preflight
from soboo_mta.cli.accounts.spf import spf

app.command()(preflight)
app.command()(spf)
