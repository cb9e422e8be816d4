"""Tables and texts of the demonstration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..diagnostics.counts import count
from ._demo_experiments import ROUNDS, SERVER_NAME
from ._errors import headline
from ._output import milliseconds
from ._terminal import HEADING, terminal

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ..errors import Error
    from ..security import SecurityReport
    from ._demo_experiments import Connection, Demonstration, Interception, Refusal
    from ._layout import Cell


_VERIFIED = {"full": "chain and name", "ca": "chain, not name", "none": "not verified"}
_REFUSALS = {
    "wrong-ca": ("Wrong CA", "The client does not trust the CA that issued the server's certificate."),
    "wrong-name": ("Wrong server", "The certificate is valid, but for another name than the client connects to."),
    "man-in-the-middle": (
        "Man in the middle with a valid certificate",
        f"The attacker terminates TLS with a certificate for {SERVER_NAME} from the CA that the client trusts, and "
        "relays everything to the real server. Certificate verification succeeds; channel binding fails.",
    ),
}
_ROUND_TRIPS = (
    "Round trips: one for TCP, one for SSLRequest and two for SCRAM: channel binding is required, so the client sends "
    "its first SCRAM message without waiting for the server's request. TLS 1.3 takes one, or two if the server selects "
    "a key-exchange group for which the client has not sent a key share (HelloRetryRequest). A backend with a choice "
    "of groups (see: babar-tls backends) uses that group at its next connects in this process, which then take one. "
    "sslnegotiation=direct saves the SSLRequest."
)


class DemoTables:
    """Prints the results of each experiment."""

    def __init__(self) -> None:
        self._console = terminal()

    def working(self, text: str) -> AbstractContextManager[object]:
        """Return a context with a spinner, if the output is a terminal."""
        return self._console.status(f"{text} …")

    def start(self, demo: Demonstration) -> None:
        """Print what was started."""
        self._console.write("babar-tls", HEADING)
        self._console.write(
            f"PostgreSQL {demo.server.version} is running on port {demo.server.port}, started in "
            f"{demo.start_seconds:.1f} s, with its own CA, a certificate for {SERVER_NAME} and a SCRAM password. "
            "It is removed when the demo ends."
        )

    def connect(self, demo: Demonstration) -> None:
        """Print a table for each backend, with the reports of client and server."""
        self._heading(
            "1. What is negotiated and verified",
            "Every connection requires TLS with full verification (sslmode=verify-full) and authentication that is "
            "bound to the channel (channel_binding=require). The server's report is its view pg_stat_ssl.",
        )
        for backend in demo.backends:
            self._console.write()
            self._backend([item for item in demo.connections if item.backend == backend])
        self._console.write()
        self._console.write(_ROUND_TRIPS, "dim")

    def measure(self, demo: Demonstration) -> None:
        """Print a bar for each backend and style."""
        self._heading(
            "2. How long a connect takes",
            f"Median of {count(ROUNDS, 'connect')} over loopback, backends in turns, SCRAM keys cached after the "
            "first. This is short and noisy, not a benchmark.",
        )
        console = self._console
        width = max(10, min(40, console.width - 63))
        longest = max((item.connect for item in demo.timings), default=1.0)
        rows = [
            (
                item.backend,
                item.style,
                *map(milliseconds, (item.connect, item.tls, item.auth)),
                console.bar(0, item.connect / longest, width=width),
            )
            for item in demo.timings
        ]
        headings = ("backend", "style", "connect", "of which TLS", "auth", "")
        console.print(console.table(rows, headings, right={2, 3, 4}, frame=False))

    def refuse(self, demo: Demonstration) -> None:
        """Print each refusal, with the error as a program sees it."""
        self._heading("3. Refusals", "The errors are real; each contains advice.")
        for name in _REFUSALS:
            attempts = [item for item in demo.refusals if item.name == name]
            if attempts:
                self._refusal(attempts)
        if demo.interception is not None:
            self._without_binding(demo.interception)

    def end(self, demo: Demonstration) -> None:
        """Print the unexpected results, or that every result is as expected."""
        self._console.write()
        for failure in demo.failures:
            self._console.print(self._console.verdict(False, failure))
        if not demo.failures:
            counts = f"{count(len(demo.connections), 'connection')}, {count(len(demo.refusals), 'refusal')}"
            self._console.print(self._console.verdict(True, f"All results are as expected: {counts}."))
            self._console.write('  Next: babar-tls connect "postgresql://you@your-server/db"', "dim")

    def _heading(self, title: str, explanation: str) -> None:
        self._console.write()
        self._console.write(title, HEADING)
        self._console.write(f"   {explanation}", "dim")

    def _backend(self, connections: list[Connection]) -> None:
        versions = [item.security.backend_version for item in connections if item.security is not None]
        columns = [self._facts(item) for item in connections]
        names = [name for name, _ in max(columns, key=len)]
        rows = [
            (name, *(column[row][1] if row < len(column) else "" for column in columns))
            for row, name in enumerate(names)
        ]
        title = ": ".join([connections[0].backend, *filter(None, versions[:1])])
        headings = ("", *(item.style for item in connections))
        self._console.print(self._console.table(rows, headings, title))
        for item in connections:
            if item.error is not None:
                self._error(item.error)

    def _facts(self, connection: Connection) -> list[tuple[str, Cell]]:
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
            ("round trips", console.cell(_round_trips(security))),
        ]

    def _refusal(self, attempts: list[Refusal]) -> None:
        title, explanation = _REFUSALS[attempts[0].name]
        self._console.write()
        self._console.write(title, "bold")
        self._console.write(explanation, "dim")
        error = attempts[0].error
        if error is not None:
            self._error(error)
        refused = ", ".join(item.backend for item in attempts if item.happened)
        accepted = ", ".join(item.backend for item in attempts if not item.happened)
        if refused:
            self._console.print(self._console.verdict(True, f"refused by {refused}"))
        if accepted:
            self._console.print(self._console.verdict(False, f"NOT refused as expected by {accepted}"))

    def _error(self, error: Error) -> None:
        reason, code = getattr(error, "reason", None), getattr(error, "code", None)
        more = f" ({reason or f'SQLSTATE {code}'})" if reason or code else ""
        self._console.write(f"  {type(error).__name__}{more}", "bold red")
        for line in headline(error).split("\n"):
            self._console.write(f"  {line}")
        if error.remedy:
            self._console.write(f"  {error.remedy}", "italic")

    def _without_binding(self, interception: Interception) -> None:
        reads = {True: "the attacker reads", False: "the attacker does not read"}
        query, password = reads[interception.query_seen], reads[interception.password_seen]
        self._console.write()
        self._console.write("For comparison: without channel binding", "bold")
        self._console.write(
            "The same attacker, and a client with channel_binding=disable: it connects without an error.", "dim"
        )
        self._console.write(f"  verification: {interception.verified}, because the certificate is valid")
        self._console.write(f"  {query} every query: {interception.query}", "yellow")
        self._console.write(f"  {password} the password: SCRAM never sends it")


def _round_trips(security: SecurityReport) -> str:
    """Return the number of round trips and what they were for."""
    others = 4  # TCP, SSLRequest, and two for SCRAM, whose first message does not wait for the server's request
    tls = security.round_trips - others
    return f"{security.round_trips}: TCP, SSLRequest, TLS{f' ({tls})' if tls > 1 else ''}, SCRAM (2)"
