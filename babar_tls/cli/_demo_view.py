"""What the demonstration looks like. Imports rich."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ._demo_checks import ROUNDS, SERVER_NAME
from ._demo_story import Findings, Narrator
from ._errors import headline
from ._output import milliseconds
from ._terminal import HEADING, terminal

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rich.console import RenderableType

    from ._demo_checks import Connection, Interception, Refusal


_WIDE = 98  # columns
_VERIFIED = {"full": "chain and name", "ca": "chain, but no name", "none": "not verified"}
_ATTACKS = {
    "wrong-ca": (
        "The wrong authority",
        "The client trusts another authority than the certificate's.",
    ),
    "wrong-name": ("The wrong server", "The certificate is genuine, but the client wants to talk to somebody else."),
    "man-in-the-middle": (
        "A man in the middle with a certificate to match",
        f"The attacker ends TLS with a certificate for {SERVER_NAME} from the very authority that the client trusts, "
        "and relays everything to the real server. Verification finds nothing wrong; channel binding does.",
    ),
}


class Illustrator(Narrator):
    """Draws each part as soon as it is known."""

    def __init__(self) -> None:
        self._console = terminal()

    def working(self, what: str) -> AbstractContextManager[object]:
        """A spinner; nothing where there is no terminal."""
        return self._console.status(f"{what} …")

    def opening(self, findings: Findings) -> None:
        """The server that is being talked to."""
        text = (
            f"A PostgreSQL {findings.server_version} of our own is running on port {findings.port}, started in "
            f"{findings.start_seconds:.1f} s, with a certificate authority of its own, a certificate for {SERVER_NAME} "
            "and a SCRAM password. When the demo ends, it will be gone without a trace."
        )
        self._console.print(
            Panel(Text(text), title=Text("babar-tls", HEADING), title_align="left", box=self._console.outline)
        )

    def connections(self, findings: Findings) -> None:
        """A table per engine, and the server's account beside ours."""
        self._heading(
            "1. What is negotiated, and what is proven",
            "Every connection asks for TLS with full verification (sslmode=verify-full) and for authentication bound "
            "to the channel (channel_binding=require). What the server says comes from its view pg_stat_ssl.",
        )
        for backend in findings.backends:
            self._console.print()
            self._console.print(self._engine([item for item in findings.connections if item.backend == backend]))

    def timings(self, findings: Findings) -> None:
        """A bar per engine and style."""
        self._heading(
            "2. How long it takes",
            f"Median of {ROUNDS} connects over loopback, engines taking turns, SCRAM keys cached by the warm-up: short "
            "and noisy, no benchmark.",
        )
        table = Table(box=box.SIMPLE_HEAD if self._console.unicode else box.ASCII, header_style=HEADING)
        for name in ("engine", "style", "connect", "", "of it TLS", "auth"):
            table.add_column(name, justify="left" if name in ("engine", "style", "") else "right", no_wrap=True)
        width = max(10, min(40, self._console.width - 60))
        longest = max((item.connect for item in findings.timings), default=1.0)
        for item in findings.timings:
            bar = self._console.bar(0, item.connect / longest, width=width)
            seconds = [Text(milliseconds(value)) for value in (item.connect, item.tls, item.auth)]
            table.add_row(self._console.cell(item.backend), item.style, seconds[0], bar, *seconds[1:])
        self._console.print(table)

    def refusals(self, findings: Findings) -> None:
        """A panel per attack, with the error as a program would see it."""
        self._heading("3. What is refused", "The errors are real, and each says what to do next.")
        for name in _ATTACKS:
            attempts = [item for item in findings.refusals if item.name == name]
            if attempts:
                self._console.print(self._attack(attempts))
        if findings.interception is not None:
            self._console.print(self._contrast(findings.interception))

    def closing(self, findings: Findings) -> None:
        """The verdict."""
        self._console.print()
        for failure in findings.failures:
            self._console.print(self._console.verdict(False, failure))
        if findings.failures:
            return
        facts = f"{len(findings.connections)} connections, both ends agreeing; {len(findings.refusals)} refusals"
        self._console.print(self._console.verdict(True, f"All as it should be: {facts}. The server is gone again."))
        self._console.print(self._console.cell('  Next: babar-tls connect "postgresql://you@your-server/db"', "dim"))

    def _heading(self, title: str, explanation: str) -> None:
        self._console.print()
        self._console.print(Text(title, HEADING))
        self._console.print(Padding(Text(explanation, "dim"), (0, 0, 0, 3), expand=False))

    def _engine(self, connections: list[Connection]) -> RenderableType:
        cell = self._console.cell
        made = [item for item in connections if item.security is not None]
        version = next((item.security.backend_version for item in made if item.security is not None), None)
        title = cell(f"{connections[0].backend}: {version}" if version else connections[0].backend)
        table = Table(
            box=self._console.outline, header_style=HEADING, title=title, title_justify="left", title_style="bold"
        )
        table.add_column("", style=HEADING, no_wrap=True)
        for item in connections:
            table.add_column(item.style, overflow="fold")
        # Beside ours where there is room, below it where there is not.
        beside = self._console.width >= _WIDE
        if beside:
            table.add_column("the server says", overflow="fold")
        for name, cells in zip(_FACTS, zip(*map(self._facts, connections), strict=True), strict=True):
            server = self._server(name, connections)
            table.add_row(name, *cells, *([server] if beside else []))
            if server and not beside:
                table.add_row("  server says", *(self._server(name, [item]) for item in connections))
        errors = [self._error(item.error) for item in connections if item.error is not None]
        return Group(table, *errors)

    def _facts(self, connection: Connection) -> list[Text]:
        """One column, a cell for each of `_FACTS`."""
        console, security = self._console, connection.security
        if security is None:
            return [console.verdict(False, "no connection"), *(Text() for _ in _FACTS[1:])]
        return [
            console.cell(security.tls_version),
            console.cell(security.cipher),
            console.cell(security.group) if security.group else console.cell("not told by the engine", "dim"),
            console.cell(security.alpn or "none"),
            console.verdict(security.verified == "full", _VERIFIED[security.verified]),
            console.verdict(security.auth_method == "scram-sha-256-plus", security.auth_method.upper()),
            console.verdict(security.channel_bound, security.channel_binding_type or "not bound"),
            console.verdict(security.server_authenticated, "by its SCRAM signature"),
            console.cell(security.round_trips),
        ]

    def _server(self, name: str, connections: list[Connection]) -> Text:
        """What the server says on this fact, with a mark for whether both connections' two ends agree."""
        views = [item.server for item in connections if item.server is not None]
        if name == "TLS version":
            told = [f"{view.version}, {view.bits} bits" for view in views]
            return self._marked(told, all(item.version_agrees for item in connections))
        if name == "cipher":
            return self._marked([str(view.cipher) for view in views], all(item.cipher_agrees for item in connections))
        return Text()

    def _marked(self, told: list[str], good: bool) -> Text:
        return self._console.verdict(good, " / ".join(dict.fromkeys(told)) or "nothing")

    def _attack(self, attempts: list[Refusal]) -> RenderableType:
        title, explanation = _ATTACKS[attempts[0].name]
        console = self._console
        first = attempts[0]
        refused = [item.backend for item in attempts if item.happened]
        accepted = [item.backend for item in attempts if not item.happened]
        body: list[RenderableType] = [Text(explanation, "dim"), Text()]
        if first.error is not None:
            body += [self._error(first.error), Text()]
        if refused:
            body.append(console.verdict(True, f"refused by {', '.join(refused)}"))
        if accepted:
            body.append(console.verdict(False, f"NOT refused as it must be by {', '.join(accepted)}"))
        style = "red" if accepted else "green"
        return Panel(
            Group(*body), title=Text(title, "bold"), title_align="left", border_style=style, box=console.outline
        )

    def _error(self, error: Exception) -> Text:
        name = Text(type(error).__name__, "bold red")
        reason, code = getattr(error, "reason", None), getattr(error, "code", None)
        if reason or code:
            name.append_text(self._console.cell(f" ({reason or f'SQLSTATE {code}'})", "red"))
        remedy = getattr(error, "remedy", None)
        advice = [self._console.cell(remedy, "italic")] if remedy else []
        return Text("\n").join([name, Text(headline(error)), *advice])

    def _contrast(self, interception: Interception) -> RenderableType:
        console = self._console
        body: list[RenderableType] = [
            Text("The same attacker; the client says channel_binding=disable, connects and notices nothing.", "dim"),
            Text(),
            Text(f"verification: {interception.verified}, for the certificate is genuine as far as anybody can tell"),
            console.cell(self._overheard("every query", interception.query_seen) + f": {interception.query}", "yellow"),
            console.cell(self._overheard("the password", interception.password_seen) + ": SCRAM never sends it"),
        ]
        title = Text("For contrast: without channel binding", "bold")
        return self._panel(*body, title=title, style="yellow")

    @staticmethod
    def _overheard(what: str, seen: bool) -> str:
        return f"the attacker {'reads' if seen else 'does not read'} {what}"

    def _panel(self, *body: RenderableType, title: Text, style: str = "none") -> Panel:
        return Panel(Group(*body), title=title, title_align="left", border_style=style, box=self._console.outline)


_FACTS = (
    "TLS version",
    "cipher",
    "key exchange",
    "ALPN",
    "certificate",
    "authentication",
    "channel binding",
    "server's proof",
    "round trips",
)
