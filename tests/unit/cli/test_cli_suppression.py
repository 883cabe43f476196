"""`soboo-mta suppression`, as an operator types it."""

import csv
import json
import re
import shlex
import textwrap
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from soboo_mta.cli.app import app
from soboo_mta.cli.context import CliStore
from soboo_mta.mail.bounce_class import Consequence
from soboo_mta.mail.errors import FormatError
from soboo_mta.mail.ids import MessageId
from soboo_mta.store import schema
from soboo_mta.store.writer import read_now, write_now
from soboo_mta.tenancy.accounts import TenancyError
from soboo_mta.tenancy.suppression import (
    Evidence,
    SoftRule,
    SuppressionRules,
    consequences,
)
from tests.fakes.suppression import BOB, classified
from tests.fakes.tenancy import ACME, with_tenants

Run = Callable[..., str]
ROOT = Path(__file__).parents[3]


@pytest.fixture
def run(config: Path, store: CliStore) -> Run:
    write_now(store.engine, with_tenants)

    def typed(
        *words: str, tenant: str = "acme", ends: int = 0, put_in: str = ""
    ) -> str:
        runner = CliRunner(env={"COLUMNS": "200", "SOBOO_CONFIG": str(config)})
        line = ["suppression", *words, "--tenant", tenant]
        result = runner.invoke(app, line, input=put_in)
        error = result.exception
        if error is not None and not isinstance(error, SystemExit) and not ends:
            raise error
        assert bool(error) == bool(ends), result.output
        return result.output + (str(error) if ends else "")

    return typed


def entries(run: Run) -> list[dict[str, object]]:
    return json.loads(run("list", "--json", "--limit", "9999"))  # type: ignore[no-any-return]  # JSON


def test_an_address_is_added_listed_and_removed(run: Run, store: CliStore) -> None:
    assert "no address is suppressed for acme" in run("list")
    said = run("add", "Ann@There.example", "--because", "asked by letter")
    assert said == "suppressed Ann@there.example\n"
    assert "was suppressed before" in run("add", "Ann@there.example")
    assert "asked by letter" in run("list")
    assert "no address is suppressed" in run("list", tenant="rival")
    gone = run("remove", "ann@there.example", "--because", "she wrote again")
    assert gone == "removed ann@there.example\n"
    with pytest.raises(FormatError, match="is not on the list of acme"):
        run("remove", "ann@there.example", "--because", "again")
    query = select(schema.event.c.kind, schema.event.c.detail).order_by(
        schema.event.c.id
    )
    events = read_now(store.engine, lambda at: at.execute(query).all())
    assert [row.kind for row in events] == ["suppression-added", "suppression-removed"]
    added, removed = (json.loads(row.detail) for row in events)
    assert added["address"] == "Ann@there.example"
    assert (added["reason"], added["because"]) == ("manual", "asked by letter")
    assert removed["because"] == "she wrote again"
    assert removed["entries"] == [{"stream": "", "reason": "manual"}]
    past = run("history", "ann@there.example")
    assert re.search(r"added.*manual.*cli:.*asked by letter", past)
    assert re.search(r"removed.*manual.*cli:.*she wrote again", past)
    told = json.loads(run("history", "ann@there.example", "--json", "--limit", "1"))
    assert [one["change"] for one in told] == ["removed"]
    assert "nothing is known of" in run("history", "bob@there.example")


def test_an_entry_has_a_stream_and_an_end(run: Run) -> None:
    run("add", "ann@x.example", "--stream", "news", "--expires", "30d")
    run("add", "ann@x.example", "--expires", "2999-01-31")
    shown = run("show", "ANN@x.example")
    assert "ann@x.example, all streams: manual, until 2999-01-31 00:00" in shown
    assert re.search(r"stream news: manual, until 20\d\d-", shown)
    with pytest.raises(FormatError, match="is over"):
        run("add", "ann@x.example", "--expires", "2001-01-31")
    with pytest.raises(FormatError, match="is no time"):
        run("add", "ann@x.example", "--expires", "soon")
    with pytest.raises(FormatError, match="not a stream"):
        run("add", "ann@x.example", "--stream", "News!")
    run("remove", "ann@x.example", "--stream", "news", "--because", "x")
    with pytest.raises(FormatError, match="for that stream"):
        run("remove", "ann@x.example", "--stream", "news", "--because", "x")
    assert [one["stream"] for one in entries(run)] == [""]
    run("remove", "ann@x.example", "--stream", "", "--because", "x")
    assert entries(run) == []


def test_show_tells_the_evidence_and_what_counts_so_far(
    run: Run, store: CliStore
) -> None:
    rules = SuppressionRules(soft=SoftRule(limit=5, within=timedelta(days=14)))
    now = store.clock.unix_ms()
    for number, consequence in ((1, Consequence.COUNT), (2, Consequence.SUPPRESS)):
        evidence = Evidence(
            message=MessageId(number), position=0, said=f"55{number} no"
        )
        found = classified(consequence)
        write_now(
            store.engine,
            lambda at, told=evidence, of=found: consequences(
                at, ACME, BOB, of, told, now, rules
            ),
        )
    shown = run("show", str(BOB))
    assert f"{BOB}, all streams: invalid, for ever" in shown
    assert "because: There is no such mailbox." in shown
    assert "by relay" in shown
    assert f"message {MessageId(2)}, class invalid-mailbox, 552 no" in shown
    assert "soft failures: 1 of 5 within 14d" in shown
    assert f"message {MessageId(1)}, class invalid-mailbox, 551 no" in shown
    told = json.loads(run("show", str(BOB), "--json"))
    assert told["entries"][0]["evidence"]["said"] == "552 no"
    assert told["soft_failures"][0]["said"] == "551 no"
    run("remove", str(BOB), "--because", "works again")
    assert run("show", str(BOB)) == f"{BOB} is not suppressed for acme\n"


def test_who_asked_for_no_mail_is_not_taken_out_in_passing(run: Run) -> None:
    run("import", "-", put_in="ann@x.example,unsubscribe,news\n")
    words = ("remove", "ann@x.example", "--because", "x")
    with pytest.raises(TenancyError, match="--yes does not ask"):
        run(*words)
    assert len(entries(run)) == 1
    run(*words, "--yes")
    assert entries(run) == []


def test_a_plain_list_is_imported_but_for_what_is_no_address(
    run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "list.txt"
    file.write_text("# from the old system\na@x.example\n\nb@x.example # bounced\nno\n")
    dry = run("import", str(file), "--dry-run", ends=2)
    assert "2 addresses can be imported" in dry
    assert entries(run) == []
    told = run("import", str(file), ends=2)
    assert "line 5: the address 'no' has no domain: write user@domain: no" in told
    assert "suppressed 2 of 2 addresses" in told
    assert "1 lines of" in told
    assert [one["reason"] for one in entries(run)] == ["import"] * 2


def test_a_large_list_is_imported_in_pieces_and_listed_by_pages(
    run: Run, tmp_path: Path, store: CliStore
) -> None:
    file = tmp_path / "list.txt"
    lines = [f"u{n}@x.example" for n in range(2_500)] + ["U7@x.example"]
    file.write_text("\n".join(lines))
    run("add", "u9@x.example")
    assert "suppressed 2500 of 2501 addresses" in run("import", str(file))
    shown = run("list", "--limit", "2", "--after", "u1@x.example")
    assert "u2000@x.example" in shown
    assert "2 of 2501" in shown
    assert "suppressed 0 of 2501" in run("import", str(file))
    change = schema.suppression_change.c
    query = select(change.generation).where(change.change == "added")
    written = list(read_now(store.engine, lambda at: at.scalars(query)))
    assert max(map(written.count, set(written))) * 2 < 1_000  # rows of a transaction


def test_csv_says_reason_stream_and_times(run: Run) -> None:
    text = (
        "address,reason,stream,since,expires\n"
        "a@x.example,complaint,,2020-01-31T09:00:00Z,\n"
        "b@x.example,unsubscribe,news,2020-01-31,2999-01-31\n"
        "c@x.example,spam,,,\n"
        "d@x.example,,News,,\n"
        "e@x.example,,,2999-01-31,\n"
        "f@x.example,,,,2001-01-31\n"
        "g@x.example,,,,,,more\n"
        '"h@x.example,,,\n'
        "i@x.example\n"
    )
    told = run("import", "-", put_in=text, ends=2)
    for number in (4, 5, 6, 7, 8, 9):
        assert f"line {number}: " in told
    assert "6 lines of -" in told
    found = {str(one["address"])[0]: one for one in entries(run)}
    assert sorted(found) == ["a", "b", "i"]
    assert (
        found["a"] | {"reason": "complaint", "stream": "", "expires": None}
        == (found["a"])
    )
    assert found["a"]["since"] == "2020-01-31T09:00:00.000Z"
    assert (found["b"]["stream"], found["b"]["expires"]) == (
        "news",
        "2999-01-31T00:00:00.000Z",
    )
    with pytest.raises(FormatError, match="no column colour"):
        run("import", "-", put_in="address,colour\na@x.example,red\n")


def test_what_is_exported_can_be_imported_elsewhere(run: Run, store: CliStore) -> None:
    run("import", "-", put_in="".join(f"u{n}@x.example\n" for n in range(2_100)))
    because = 'she said "no, thanks"'
    run("add", "ann@x.example", "--stream", "news", "--because", because)
    write_now(
        store.engine,
        lambda at: consequences(
            at,
            ACME,
            BOB,
            classified(),
            Evidence(message=MessageId(5), position=1, said='550 5.1.1 "no"'),
            store.clock.unix_ms(),
            SuppressionRules(soft=None),
        ),
    )
    exported = run("export")
    rows = list(csv.DictReader(exported.splitlines()))
    assert len(rows) == 2_102
    run("import", "-", tenant="rival", put_in=exported)
    lines = [
        json.loads(line) for line in run("export", "--format", "json").splitlines()
    ]
    there = [
        json.loads(line)
        for line in run("export", "--format", "json", tenant="rival").splitlines()
    ]
    for one in (*lines, *there):
        del one["actor"]  # whoever imports it
    assert there == lines
    assert {one["because"] for one in there if one["stream"]} == {because}


def test_what_cannot_be_is_said(run: Run, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="has no domain"):
        run("add", "ann")
    for words in (("add", "ann@x.example"), ("show", "a@x.example"), ("export",)):
        with pytest.raises(TenancyError, match="no tenant nobody"):
            run(*words, tenant="nobody")
    with pytest.raises(FormatError, match="cannot read"):
        run("import", str(tmp_path / "none.txt"))


def test_the_documented_example_is_what_happens(run: Run, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "suppression.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"```csv\n(.+?)```", page, re.DOTALL)
    (tmp_path / "list.csv").write_text(table)
    session = page.partition("```csv")[2].partition("```\n\n")[2].partition("\n\n")[0]
    told = re.split(r"(?m)^    \$ soboo-mta suppression ", session)[1:]
    assert len(told) == 3
    for one in told:
        typed, _, shown = one.partition("\n")
        words = shlex.split(typed.replace("list.csv", str(tmp_path / "list.csv")))
        words = words[: words.index("--tenant")] + words[words.index("acme") + 1 :]
        said = re.sub(r"by cli:\S+", "by cli:root", run(*words))
        assert said == textwrap.dedent(shown).strip("\n") + "\n"
