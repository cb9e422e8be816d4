"""Tables and panels of the demonstration. This module imports rich, which is optional."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ._demo_experiments import ROUNDS, SERVER_NAME
from ._errors import headline
from ._output import milliseconds
from ._terminal import HEADING, terminal

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.console import RenderableType

    from ..errors import Error
    from ._demo_experiments import Connection, Demonstration, Interception, Refusal


_VERIFIED = {"full": "chain and name", "ca": "chain, not name", "none": "not verified"}
_ATTACKS = {
    "wrong-ca": ("Wrong CA", "The client does not trust the CA that issued the server's certificate."),
    "wrong-name": ("Wrong server", "The certificate is valid, but for another name than the client connects to."),
    "man-in-the-middle": (
        "Man in the middle with a valid certificate",
        f"The attacker terminates TLS with a certificate for {SERVER_NAME} from the CA that the client trusts, and "
        "relays everything to the real server. Certificate verification succeeds; channel binding fails.",
    ),
}


class DemoTables:
    """Prints the results of each experiment."""

    def __init__(self) -> None:
        self._console = terminal()

    def working(self, text: str) -> AbstractContextManager[object]:
        """Return a context with a spinner, if the output is a terminal."""
        return self._console.status(f"{text} …")

    def start(self, demo: Demonstration) -> None:
        """Print what was started."""
        text = (
            f"PostgreSQL {demo.server.version} is running on port {demo.server.port}, started in "
            f"{demo.start_seconds:.1f} s, with its own CA, a certificate for {SERVER_NAME} and a SCRAM password. "
            "It is removed when the demo ends."
        )
        self._console.print(self._panel(Text(text), title=Text("babar-tls", HEADING)))

    def connect(self, demo: Demonstration) -> None:
        """Print a table for each backend, with the reports of client and server."""
        self._heading(
            "1. What is negotiated and verified",
            "Every connection requires TLS with full verification (sslmode=verify-full) and authentication that is "
            "bound to the channel (channel_binding=require). The server's report is its view pg_stat_ssl.",
        )
        for backend in demo.backends:
            self._console.print()
            self._console.print(self._backend([item for item in demo.connections if item.backend == backend]))

    def measure(self, demo: Demonstration) -> None:
        """Print a bar for each backend and style."""
        self._heading(
            "2. How long a connect takes",
            f"Median of {ROUNDS} connects over loopback, backends in turns, SCRAM keys cached after the first: this is "
            "short and noisy, not a benchmark.",
        )
        table = Table(box=box.SIMPLE_HEAD if self._console.unicode else box.ASCII, header_style=HEADING)
        for name in ("backend", "style", "connect", "", "of which TLS", "auth"):
            table.add_column(name, justify="left" if name in ("backend", "style", "") else "right", no_wrap=True)
        width = max(10, min(40, self._console.width - 63))
        longest = max((item.connect for item in demo.timings), default=1.0)
        for item in demo.timings:
            bar = self._console.bar(0, item.connect / longest, width=width)
            connect, tls, auth = map(milliseconds, (item.connect, item.tls, item.auth))
            table.add_row(self._console.cell(item.backend), item.style, connect, bar, tls, auth)
        self._console.print(table)

    def attack(self, demo: Demonstration) -> None:
        """Print a panel for each attack, with the error as a program sees it."""
        self._heading("3. What is refused", "The errors are real; each contains advice.")
        for name in _ATTACKS:
            attempts = [item for item in demo.refusals if item.name == name]
            if attempts:
                self._console.print(self._attack(attempts))
        if demo.interception is not None:
            self._console.print(self._without_binding(demo.interception))

    def end(self, demo: Demonstration) -> None:
        """Print the unexpected results, or that every result is as expected."""
        self._console.print()
        for failure in demo.failures:
            self._console.print(self._console.verdict(False, failure))
        if not demo.failures:
            counts = f"{len(demo.connections)} connections, {len(demo.refusals)} refusals"
            self._console.print(self._console.verdict(True, f"All results are as expected: {counts}."))
            self._console.write('  Next: babar-tls connect "postgresql://you@your-server/db"', "dim")

    def _heading(self, title: str, explanation: str) -> None:
        self._console.print()
        self._console.print(Text(title, HEADING))
        self._console.print(Padding(Text(explanation, "dim"), (0, 0, 0, 3), expand=False))

    def _backend(self, connections: list[Connection]) -> RenderableType:
        versions = [item.security.backend_version for item in connections if item.security is not None]
        table = self._console.table(": ".join([connections[0].backend, *filter(None, versions[:1])]))
        table.add_column("", style=HEADING, no_wrap=True)
        for item in connections:
            table.add_column(item.style, overflow="fold")
        columns = [self._facts(item) for item in connections]
        longest: list[tuple[str, Text]] = max(columns, key=len)
        for row, (name, _) in enumerate(longest):
            table.add_row(name, *(column[row][1] if row < len(column) else "" for column in columns))
        return Group(table, *(self._error(item.error) for item in connections if item.error is not None))

    def _facts(self, connection: Connection) -> list[tuple[str, Text]]:
        """Return the names of the rows and the cells of one column."""
        console, security = self._console, connection.security
        server = connection.server
        if security is None or server is None:
            return [("TLS version", console.verdict(False, "no connection"))]
        version, binding = f"{server.version}, {server.bits} bits", security.channel_binding_type or "not bound"
        return [
            ("TLS version", console.cell(security.tls_version)),
            ("  reported by server", console.verdict(connection.version_agrees, version)),
            ("cipher", console.cell(security.cipher)),
            ("  reported by server", console.verdict(connection.cipher_agrees, server.cipher)),
            ("key exchange", console.cell(security.group or "not reported", "" if security.group else "dim")),
            ("ALPN", console.cell(security.alpn or "none")),
            ("certificate", console.verdict(security.verified == "full", _VERIFIED[security.verified])),
            ("authentication", console.verdict(security.gs2_flag == "p", security.auth_method.upper())),
            ("channel binding", console.verdict(security.channel_bound, binding)),
            ("server's proof", console.verdict(security.server_authenticated, "SCRAM signature")),
            ("round trips", console.cell(security.round_trips)),
        ]

    def _attack(self, attempts: list[Refusal]) -> Panel:
        title, explanation = _ATTACKS[attempts[0].name]
        body: list[RenderableType] = [Text(explanation, "dim"), Text()]
        error = attempts[0].error
        if error is not None:
            body += [self._error(error), Text()]
        refused = ", ".join(item.backend for item in attempts if item.happened)
        accepted = ", ".join(item.backend for item in attempts if not item.happened)
        if refused:
            body.append(self._console.verdict(True, f"refused by {refused}"))
        if accepted:
            body.append(self._console.verdict(False, f"NOT refused as expected by {accepted}"))
        return self._panel(*body, title=Text(title, "bold"), style="red" if accepted else "green")

    def _error(self, error: Error) -> Text:
        name = Text(type(error).__name__, "bold red")
        reason, code = getattr(error, "reason", None), getattr(error, "code", None)
        if reason or code:
            name.append_text(self._console.cell(f" ({reason or f'SQLSTATE {code}'})", "red"))
        advice = [self._console.cell(error.remedy, "italic")] if error.remedy else []
        return Text("\n").join([name, Text(headline(error)), *advice])

    def _without_binding(self, interception: Interception) -> Panel:
        reads = {True: "the attacker reads", False: "the attacker does not read"}
        query, password = reads[interception.query_seen], reads[interception.password_seen]
        return self._panel(
            Text("The same attacker, and a client with channel_binding=disable: it connects without an error.", "dim"),
            Text(),
            Text(f"verification: {interception.verified}, because the certificate is valid"),
            self._console.cell(f"{query} every query: {interception.query}", "yellow"),
            self._console.cell(f"{password} the password: SCRAM never sends it"),
            title=Text("For comparison: without channel binding", "bold"),
            style="yellow",
        )

    def _panel(self, *body: RenderableType, title: Text, style: str = "none") -> Panel:
        return Panel(Group(*body), title=title, title_align="left", border_style=style, box=self._console.outline)
