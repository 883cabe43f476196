"""`soboo-mta domain`: its commands in one place."""

from soboo_mta.cli.dns.preflight import preflight
from soboo_mta.cli.dns.spf import spf
from soboo_mta.cli.domains.adding import add
from soboo_mta.cli.domains.domain import app
from soboo_mta.cli.domains.look import verify
from soboo_mta.cli.domains.standing.history import history
from soboo_mta.cli.records.page import link
from soboo_mta.cli.records.records import records

app.command()(add)
app.command()(records)
app.command()(link)
app.command()(verify)
app.command()(history)
app.command()(preflight)
app.command()(spf)
