"""The people who may log in: rows that are added and disabled, never deleted, each act audited."""

from collections.abc import Sequence
from enum import StrEnum

from sqlmodel import Session, col, delete, select

from partgate.records import LoginSession, User, audit, utc_now


class Change(StrEnum):
    """What became of a change to the people."""

    DONE = "DONE"
    NAME_TAKEN = "NAME_TAKEN"
    NOT_ONESELF = "NOT_ONESELF"
    """Whoever disables people stays: so there is always somebody who can log in."""
    NO_SUCH_USER = "NO_SUCH_USER"
    DISABLED = "DISABLED"
    """A new password alone does not let in who was disabled: that is asked for by itself."""


def any_user(session: Session) -> bool:
    """Return whether somebody may log in already."""
    return session.exec(select(User.id).limit(1)).first() is not None


def user_named(session: Session, name: str) -> User | None:
    """Return the user of that name who is not disabled."""
    return session.exec(select(User).where(User.name == name, col(User.disabled_at).is_(None))).first()


def replace_password_hash(session: Session, user_id: int, password_hash: str) -> None:
    """Keep a hash made with today's parameters."""
    user = session.get(User, user_id)
    if user is not None:
        user.password_hash = password_hash
        session.add(user)


def add_first_user(session: Session, *, name: str, password_hash: str) -> int | None:
    """Add the first user and return the number; None if there is one already."""
    return None if any_user(session) else _add(session, name, password_hash, by=name, why="set-up")


def add_user(session: Session, *, name: str, password_hash: str, by: str) -> Change:
    """Add a user; a name is given once for all time, because it stands in the audit trail."""
    if session.exec(select(User.id).where(User.name == name)).first() is not None:
        return Change.NAME_TAKEN
    _add(session, name, password_hash, by=by, why="")
    return Change.DONE


def disable_user(session: Session, *, user_id: int, by_id: int, by: str) -> Change:
    """Bar a user and end all their logins; doing it twice changes nothing."""
    user = session.get(User, user_id)
    if user is None:
        return Change.NO_SUCH_USER
    if user_id == by_id:
        return Change.NOT_ONESELF
    if user.disabled_at is None:
        user.disabled_at = utc_now()
        session.add(user)
        session.exec(delete(LoginSession).where(col(LoginSession.user_id) == user_id))
        audit.append(
            session, who=by, what="user.disable", subject=f"user:{user_id}", before={"name": user.name}
        )
    return Change.DONE


def resettable(session: Session, *, name: str, enable: bool) -> Change:
    """Return what a new password for a person would come to; nothing is changed."""
    user = session.exec(select(User).where(User.name == name)).first()
    if user is None:
        return Change.NO_SUCH_USER
    return Change.DISABLED if user.disabled_at is not None and not enable else Change.DONE


def set_password(
    session: Session, *, name: str, password_hash: str, enable: bool, by: str, why: str
) -> Change:
    """Give a person a new password and end all their logins.

    Args:
        session: one that `Database.write` gave.
        name: as `checked_name` returned it.
        password_hash: of the new one.
        enable: whether a person who was disabled may log in again.
        by: who, for the trail.
        why: the reason given.
    """
    change = resettable(session, name=name, enable=enable)
    if change is not Change.DONE:
        return change
    user = session.exec(select(User).where(User.name == name)).one()
    before = {"name": name, "disabled": user.disabled_at is not None}
    user.password_hash, user.disabled_at = password_hash, None
    session.add(user)
    session.exec(delete(LoginSession).where(col(LoginSession.user_id) == user.id))
    audit.append(
        session,
        who=by,
        what="user.reset",
        subject=f"user:{user.id}",
        before=before,
        after=before | {"disabled": False},
        why=why,
    )
    return Change.DONE


def users(session: Session) -> Sequence[User]:
    """Return all users by name, disabled ones too."""
    return session.exec(select(User).order_by(col(User.name))).all()


def _add(session: Session, name: str, password_hash: str, *, by: str, why: str) -> int | None:
    user = User(name=name, password_hash=password_hash)
    session.add(user)
    session.flush()
    audit.append(
        session, who=by, what="user.create", subject=f"user:{user.id}", after={"name": name}, why=why
    )
    return user.id
