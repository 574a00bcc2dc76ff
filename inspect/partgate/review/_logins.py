"""Who is logged in: sessions in the database, found by the hash of a cookie's token."""

import threading
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlmodel import Session, col, delete, select

from partgate.records import Database, LoginSession, User, utc_now
from partgate.review._tokens import MAX_TOKEN_LENGTH, form_token, new_token, token_sha256
from partgate_station import PartgateError

log = structlog.get_logger(__name__)

IDLE_LIMIT = timedelta(hours=8)
ABSOLUTE_LIMIT = timedelta(hours=12)
TOUCH_EVERY = timedelta(minutes=1)
WRITE_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A person who is logged in, and the token that each form of theirs must bring back.

    The token also tells apart the logins of people who share a name.
    """

    user_id: int
    name: str
    form_token: str


class Logins:
    """Begins, finds and ends sessions. A session dies by idling, by age, by logout, by a disabled user."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # One at a time: what cannot be written must not fill the queue of what is to be.
        self._touching = threading.Lock()

    def begin(self, user_id: int) -> str:
        """Return the token of a new session; sessions past their age are cleared away with it."""
        token = new_token()

        def act(session: Session) -> None:
            session.exec(
                delete(LoginSession).where(col(LoginSession.created_at) < utc_now() - ABSOLUTE_LIMIT)
            )
            session.add(LoginSession(token_sha256=token_sha256(token), user_id=user_id))

        self._database.write(act).result(timeout=WRITE_TIMEOUT_S)
        return token

    def find(self, token: str, *, touch: bool = True) -> Login | None:
        """Return who brought this token, None if it belongs to no living session.

        Args:
            token: out of a cookie.
            touch: whether a person is there, so that the idle limit begins anew.
        """
        if not 0 < len(token) <= MAX_TOKEN_LENGTH:
            return None
        now = utc_now()
        with self._database.read() as session:
            found = _living(session, token_sha256(token), now)
        if found is None:
            return None
        login_session, user = found
        if touch and now - login_session.last_seen_at > TOUCH_EVERY:
            self._touch(login_session.token_sha256, now)
        return Login(user_id=user.id or 0, name=user.name, form_token=form_token(token))

    def end(self, token: str) -> None:
        """End a session; its token finds nobody from now on."""

        def act(session: Session) -> None:
            session.exec(delete(LoginSession).where(col(LoginSession.token_sha256) == token_sha256(token)))

        self._database.write(act).result(timeout=WRITE_TIMEOUT_S)

    def _touch(self, sha256: str, now: datetime) -> None:
        """Note that somebody is there, without waiting for it: nobody needs the database written to look."""

        def act(session: Session) -> None:
            row = session.get(LoginSession, sha256)
            if row is not None:
                row.last_seen_at = max(row.last_seen_at, now)
                session.add(row)

        if not self._touching.acquire(blocking=False):
            return
        try:
            self._database.write(act).add_done_callback(self._touched)
        except PartgateError as error:
            self._touching.release()
            log.warning("login not noted as alive", error=str(error))

    def _touched(self, writing: Future[None]) -> None:
        self._touching.release()
        error = None if writing.cancelled() else writing.exception()
        if error is not None:
            log.warning("login not noted as alive", error=str(error))


def _living(session: Session, sha256: str, now: datetime) -> tuple[LoginSession, User] | None:
    return session.exec(
        select(LoginSession, User)
        .join(User, col(User.id) == col(LoginSession.user_id))
        .where(
            col(LoginSession.token_sha256) == sha256,
            col(LoginSession.created_at) > now - ABSOLUTE_LIMIT,
            col(LoginSession.last_seen_at) > now - IDLE_LIMIT,
            col(User.disabled_at).is_(None),
        )
    ).first()
