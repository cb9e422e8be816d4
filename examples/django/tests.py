"""The connection of the test database."""

from django.db import connection
from django.test import TestCase


class ConnectionTests(TestCase):
    """Django's test runner creates a database of its own and connects to it with the same options."""

    def test_connection_is_encrypted(self) -> None:
        """The server reports TLS, and the database is that of the tests."""
        with connection.cursor() as cursor:
            cursor.execute("select ssl, current_database() from pg_stat_ssl where pid = pg_backend_pid()")
            self.assertEqual(cursor.fetchone(), (True, connection.settings_dict["NAME"]))  # noqa: PT009 - unittest
        self.assertTrue(connection.settings_dict["NAME"].startswith("test_"))  # noqa: PT009 - unittest
