"""Settings of a Django project whose database connections are configured by a `babar_tls.Config`."""

import os

import psycopg

from babar_tls import Config

_config = Config.from_conninfo(os.environ["DATABASE_URL"], channel_binding="require")
_options = _config.to_libpq(psycopg.pq.version())

# NAME may not be in OPTIONS too: OPTIONS takes precedence, and the tests would use this database. `manage.py dbshell`
# reads USER, HOST and PORT. An empty PASSWORD is not passed on, but in OPTIONS it disables PGPASSWORD.
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _options.pop("dbname"),
        "USER": _options.pop("user"),
        "PASSWORD": _options["password"],
        "HOST": _options.pop("host"),
        "PORT": _options.pop("port"),
        "OPTIONS": _options,
    }
}

INSTALLED_APPS = ["django.contrib.contenttypes"]
SECRET_KEY = os.environ.get("SECRET_KEY", "only for this example")
USE_TZ = True
