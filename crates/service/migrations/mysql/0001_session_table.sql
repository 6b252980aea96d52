-- The session table, first form. Times are whole seconds since 1970 UTC, lengths of time whole
-- seconds, unless a name says otherwise. Ids and digests are raw bytes. Text is compared by its
-- bytes.

-- One row per session, written once. What changes is in `renewals`; that it ended is in
-- `revocations`. To forget an address, a row is deleted or written anew, never updated.
CREATE TABLE sessions (
    sid            VARBINARY(16) NOT NULL PRIMARY KEY CHECK (length(sid) = 16), -- 16 random bytes
    idx            BIGINT NOT NULL CHECK (idx BETWEEN 0 AND 4294967295),  -- place in the list's bitmaps
    subject        VARCHAR(255) NOT NULL,     -- who signed in; 1-255 bytes of printable ASCII
    created_at     BIGINT NOT NULL,           -- second of the sign-in
    auth_time      BIGINT NOT NULL,           -- second in which the user proved who they are
    ends_at        BIGINT NOT NULL,           -- absolute end: first second in which it is over
    idle_secs      BIGINT NOT NULL,           -- ends this many seconds after it was last seen
    persistent     BIGINT NOT NULL CHECK (persistent IN (0, 1)),  -- 1: cookies outlive the browser
    ip             TEXT,                      -- address of the sign-in; NULL: unknown or forgotten
    country        TEXT,                      -- ISO 3166-1 code of that address
    region         TEXT,                      -- region by name
    city           TEXT,                      -- city by name
    asn            BIGINT,                    -- autonomous system number
    user_agent     TEXT,                      -- User-Agent of the sign-in; at most 512 bytes
    device_label   TEXT NOT NULL,             -- such as "Firefox on Linux"
    device_kind    TEXT NOT NULL,             -- desktop, phone, tablet or unknown
    device_browser TEXT,                      -- browser by name
    device_os      TEXT,                      -- operating system by name
    amr            TEXT NOT NULL,             -- how the user signed in: JSON array of strings
    ext            TEXT                       -- the app's own claims: JSON object, at most 1024 bytes
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE INDEX sessions_by_subject ON sessions (subject, created_at, sid);
CREATE INDEX sessions_by_creation ON sessions (created_at, sid);
CREATE INDEX sessions_by_idx ON sessions (idx);
CREATE INDEX sessions_by_end ON sessions (ends_at);

CREATE TRIGGER sessions_are_immutable BEFORE UPDATE ON sessions
    FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'a session row is never updated';

-- The confirmed renewal of each session, and where it was last seen with it. One narrow row per
-- session, the only one that changes while the session lives.
CREATE TABLE renewals (
    sid            VARBINARY(16) NOT NULL PRIMARY KEY CHECK (length(sid) = 16),
    generation     BIGINT NOT NULL CHECK (generation BETWEEN 0 AND 4294967295),  -- confirmations so far
    branch         VARBINARY(8) NOT NULL CHECK (length(branch) = 8), -- which child was confirmed; random
    confirmed_at   BIGINT NOT NULL,           -- second of that confirmation; of creation at first
    agent          VARBINARY(32) NOT NULL CHECK (length(agent) = 32), -- SHA-256 of the user agent that presented it
    ip             TEXT,                      -- address it was presented from; NULL: unknown or forgotten
    country        TEXT,                      -- ISO 3166-1 code of that address
    region         TEXT,                      -- region by name
    city           TEXT,                      -- city by name
    asn            BIGINT                     -- autonomous system number
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What ended before its time. Append-only; rows leave only once nobody can need them.
CREATE TABLE revocations (
    sid            VARBINARY(16) NOT NULL PRIMARY KEY CHECK (length(sid) = 16), -- a session is revoked once
    seq            BIGINT NOT NULL,           -- number in commit order, from `head`; a bulk shares one
    idx            BIGINT NOT NULL,           -- the session's place in the bitmaps
    revoked_at     BIGINT NOT NULL,           -- second in which it was revoked
    ended_by       VARCHAR(64) NOT NULL CHECK (ended_by IN ('user', 'admin', 'app', 'system')),
    reason         TEXT NOT NULL,             -- a word for why
    list_exp       BIGINT NOT NULL CHECK (list_exp % 60 = 0)  -- minute until which the list must hold it
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE INDEX revocations_by_seq ON revocations (seq);
CREATE INDEX revocations_by_list_exp ON revocations (list_exp);

CREATE TRIGGER revocations_are_append_only BEFORE UPDATE ON revocations
    FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'a revocation is never updated';

-- The head of the revocation log: one row, locked by every revoking transaction until it commits,
-- so that numbers are commit order. So are those of `audit` and `events`.
CREATE TABLE head (
    id             BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    seq            BIGINT NOT NULL,           -- number of the newest entry
    epoch          TEXT NOT NULL,             -- random; a new one when the log lost history
    began          BIGINT NOT NULL,           -- first second of that epoch
    keys_seq       BIGINT NOT NULL,           -- number of the last change of any key, 0 before the first
    adopt_until    BIGINT NOT NULL,           -- until this second a renewal ahead of the table is adopted; 0: never
    audit_id       BIGINT NOT NULL,           -- number of the newest line of `audit`
    event_id       BIGINT NOT NULL,           -- number of the newest of `events`
    restored_at    BIGINT NOT NULL,           -- when the backup was taken that waits for its recovery; 0: none does
    locked         BIGINT NOT NULL DEFAULT 0  -- how often: to lock is to write here, and a commit that writes brings to disk all before it
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- The watermark of mass sign-out: one row, held shared by every creation and renewal, exclusively
-- by a change of it.
CREATE TABLE watermark (
    id             BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    revoked_before BIGINT NOT NULL            -- tokens and sessions of seconds before this are over
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- How tokens are given out: one row.
CREATE TABLE issuance (
    id                  BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    next_idx            BIGINT NOT NULL,      -- next session index, modulo 2^32
    longest_token_secs  BIGINT NOT NULL       -- longest token lifetime ever configured; never falls
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Signing and renewal keys. A row stays when its key is removed, so that an id is never reused.
CREATE TABLE keyring (
    kind           VARCHAR(64) NOT NULL CHECK (kind IN ('session', 'list', 'renewal')),
    kid            VARCHAR(64) NOT NULL,      -- public id; of renewal keys a number from 1 to 255
    alg            TEXT NOT NULL,             -- EdDSA, ES256; of renewal keys HS256
    public_jwk     TEXT,                      -- public half as a JWK; NULL for renewal keys
    secret         BLOB NOT NULL,             -- secret half; sealed under the master key if `sealed`
    sealed         BIGINT NOT NULL CHECK (sealed IN (0, 1)),
    check_value    VARBINARY(32) NOT NULL CHECK (length(check_value) = 32), -- MAC under the secret that proves it is the right one
    created_at     BIGINT NOT NULL,           -- second in which it was made
    signs_from     BIGINT NOT NULL,           -- first second in which it may sign
    retired_at     BIGINT,                    -- second from which it no longer signs but is still trusted
    removed_at     BIGINT,                    -- second from which it is no longer trusted
    PRIMARY KEY (kind, kid)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Who may call the service.
CREATE TABLE credentials (
    id             VARCHAR(64) NOT NULL PRIMARY KEY, -- public id, for logs and revocation
    scope          VARCHAR(64) NOT NULL CHECK (scope IN ('edge', 'app', 'admin')),
    name           TEXT NOT NULL,             -- what the operator calls it
    digest         VARBINARY(32) NOT NULL UNIQUE CHECK (length(digest) = 32), -- SHA-256 of the credential
    created_at     BIGINT NOT NULL,           -- second in which it was made
    revoked_at     BIGINT                     -- second from which it is refused
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Which session a repeated creation already made.
CREATE TABLE idempotency (
    id             VARBINARY(32) NOT NULL PRIMARY KEY CHECK (length(id) = 32), -- SHA-256 of credential id and key
    request_digest VARBINARY(32) NOT NULL CHECK (length(request_digest) = 32), -- SHA-256 of the body
    sid            VARBINARY(16) NOT NULL,    -- the session it made
    expires_at     BIGINT NOT NULL            -- second from which the key may be used anew
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE INDEX idempotency_by_end ON idempotency (expires_at);
CREATE INDEX idempotency_by_session ON idempotency (sid);

-- What operators and their programs did. Append-only.
CREATE TABLE audit (
    id             BIGINT NOT NULL PRIMARY KEY,  -- running number, from `head`
    at             BIGINT NOT NULL,           -- second in which it was done
    actor          TEXT NOT NULL,             -- credential, or user of the machine for a command
    action         TEXT NOT NULL,             -- what was done, in one word
    target         VARCHAR(255),              -- to what; NULL: to everything
    detail         TEXT,                      -- more of it: JSON object
    ip             TEXT,                      -- where it was asked from; NULL: unknown or forgotten
    request_id     TEXT                       -- the request that asked for it
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE INDEX audit_by_time ON audit (at, id);
CREATE INDEX audit_by_target ON audit (target);

-- What apps are told about sessions. Append-only.
CREATE TABLE events (
    id             BIGINT NOT NULL PRIMARY KEY,  -- running number, from `head`
    at             BIGINT NOT NULL,           -- second in which it happened
    kind           VARCHAR(64) NOT NULL,      -- what happened, in one word
    sid            VARBINARY(16),             -- the session; NULL: not about one
    subject        VARCHAR(255),              -- whose; NULL: not about one
    detail         TEXT                       -- more of it: JSON object
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE INDEX events_by_time ON events (at);
CREATE INDEX events_by_subject ON events (subject);

-- How far the webhook is with `events`: one row.
CREATE TABLE webhook (
    id             BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    delivered_to   BIGINT NOT NULL,           -- number of the last event that the app took
    holder         VARCHAR(64) NOT NULL,      -- random name of the process whose turn it is
    held_until     BIGINT NOT NULL            -- second from which another may take the turn
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What each process says of the edges that it answers: by this every process knows whether a
-- revocation is in force everywhere.
CREATE TABLE processes (
    id             VARCHAR(64) NOT NULL PRIMARY KEY, -- random name of the process
    epoch          VARCHAR(64) NOT NULL,          -- epoch of the newest entry it knew of
    seq            BIGINT NOT NULL,          -- number of that entry
    bound_ms       BIGINT NOT NULL,          -- largest bound of its edges, in milliseconds
    edges          MEDIUMBLOB NOT NULL,          -- 16 bytes each: digest of its id, number up to which it lacks nothing
    counts_until   BIGINT NOT NULL           -- second, by the database's clock, from which this counts no more
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
