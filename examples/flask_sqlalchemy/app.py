"""A Flask application whose database connections are verified and channel-bound.

    pip install 'babar-tls[sqlalchemy]' flask flask-sqlalchemy
    DATABASE_URL='postgresql+babar://app:secret@localhost/shop?sslmode=verify-full&channel_binding=require' flask run

Only the URL differs from an application with another driver.
"""

import os

from flask import Flask, jsonify, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The base class of the models."""


db = SQLAlchemy(model_class=Base)


class Note(db.Model):
    """A note."""

    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


def create_app() -> Flask:
    """Return the application."""
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_pre_ping": True, "connect_args": {"application_name": "notes"}}
    db.init_app(app)
    with app.app_context():
        db.create_all()

    @app.get("/notes")
    def list_notes():
        return jsonify([note.text for note in db.session.scalars(db.select(Note).order_by(Note.id))])

    @app.post("/notes")
    def add_note():
        db.session.add(Note(text=request.json["text"]))
        db.session.commit()
        return "", 201

    @app.get("/security")
    def show_security():
        return jsonify(db.session.connection().connection.driver_connection.security.as_dict())

    return app
