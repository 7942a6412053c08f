-- Schema version 1. Moments are Unix milliseconds, hashes and serial numbers are blobs, words are the ones that users see.

-- Who writes a chain of audit entries. A data directory has one; a restored copy would get another.
CREATE TABLE writers (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- Serial numbers start with time, so the unique index grows at its right-hand edge. `own` marks Muster's own, which are
-- not of the fleet.
CREATE TABLE certificates (
    id         INTEGER PRIMARY KEY,
    serial     BLOB NOT NULL,
    authority  TEXT NOT NULL,
    generation INTEGER NOT NULL,
    device     TEXT NOT NULL,
    own        INTEGER NOT NULL,
    profile    TEXT NOT NULL,
    not_before INTEGER NOT NULL,
    not_after  INTEGER NOT NULL,
    revoked_at INTEGER,
    reason     INTEGER,
    key        BLOB NOT NULL,
    how        TEXT NOT NULL,
    der        BLOB NOT NULL,
    CHECK ((revoked_at IS NULL) = (reason IS NULL))
) STRICT;
CREATE UNIQUE INDEX certificates_by_serial ON certificates (serial);
CREATE INDEX certificates_by_device ON certificates (device, not_after);
-- Tells by itself whether a certificate is active, expired or revoked.
CREATE INDEX certificates_by_expiry ON certificates (own, not_after, id, revoked_at);
-- The few that are looked for by profile.
CREATE INDEX certificates_by_profile ON certificates (profile) WHERE profile <> 'client';
-- Holds all that a CRL lists, so that making one reads no certificate.
CREATE INDEX certificates_revoked ON certificates (authority, generation, not_after, serial, revoked_at, reason, own)
    WHERE revoked_at IS NOT NULL;

-- How many certificates, Muster's own or the fleet's, of which issuer and profile and asked for in which way (without what
-- follows the colon) run out on which day (since 1970, UTC), so that counting needs no walk.
CREATE TABLE tally (
    revoked    INTEGER NOT NULL,
    own        INTEGER NOT NULL,
    day        INTEGER NOT NULL,
    authority  TEXT NOT NULL,
    generation INTEGER NOT NULL,
    profile    TEXT NOT NULL,
    how        TEXT NOT NULL,
    n          INTEGER NOT NULL,
    PRIMARY KEY (revoked, own, day, authority, generation, profile, how)
) STRICT, WITHOUT ROWID;

-- How many devices there are; Muster's own are not counted.
CREATE TABLE device_tally (
    kind  TEXT NOT NULL,
    state TEXT NOT NULL,
    n     INTEGER NOT NULL,
    PRIMARY KEY (kind, state)
) STRICT, WITHOUT ROWID;

-- Beginnings of hashes and the rows that have them, added off the commit path, a segment of rows after the other: of
-- certificates and their keys, and of who, what and to what of audit entries.
CREATE TABLE fingerprints (
    segment     INTEGER NOT NULL,
    hash        BLOB NOT NULL,
    certificate INTEGER NOT NULL,
    PRIMARY KEY (segment, hash, certificate)
) STRICT, WITHOUT ROWID;
CREATE TABLE words (
    segment INTEGER NOT NULL,
    hash    BLOB NOT NULL,
    entry   INTEGER NOT NULL,
    PRIMARY KEY (segment, hash, entry)
) STRICT, WITHOUT ROWID;
-- The last that were added.
CREATE TABLE findable (
    certificate INTEGER NOT NULL,
    entry       INTEGER NOT NULL
) STRICT;
INSERT INTO findable VALUES (0, 0);

CREATE TABLE devices (
    name    TEXT PRIMARY KEY,
    own     INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    state   TEXT NOT NULL,
    armed   INTEGER NOT NULL, -- suspended while it was new
    profile TEXT NOT NULL,
    note    TEXT NOT NULL,
    created INTEGER NOT NULL,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Grows at its right-hand edge.
CREATE INDEX devices_by_creation ON devices (own, created, name);
-- The few that operators look for; an index of all would cost every first enrolment a page.
CREATE INDEX devices_serving ON devices (name) WHERE kind <> 'client';
CREATE INDEX devices_out ON devices (state, name) WHERE state NOT IN ('new', 'active');

-- Used one-time tokens until they run out; the expiry is signed in the token, and in front it keeps inserts together.
CREATE TABLE spent (
    expires INTEGER NOT NULL,
    token   BLOB NOT NULL,
    PRIMARY KEY (expires, token)
) STRICT, WITHOUT ROWID;
-- The newest of them, until there are enough to sort in at once.
CREATE TABLE spent_lately (
    id      INTEGER PRIMARY KEY,
    expires INTEGER NOT NULL,
    token   BLOB NOT NULL
) STRICT;

-- Keys that were revoked as compromised, by the hash of their SubjectPublicKeyInfo: nothing is issued for them again.
CREATE TABLE compromised (
    key BLOB PRIMARY KEY,
    at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    id        TEXT PRIMARY KEY,
    hash      BLOB NOT NULL UNIQUE,
    device    TEXT,
    wave      TEXT NOT NULL,
    uses      INTEGER NOT NULL,
    used      INTEGER NOT NULL,
    profile   TEXT NOT NULL,
    created   INTEGER NOT NULL,
    expires   INTEGER NOT NULL,
    withdrawn INTEGER,
    maker     TEXT NOT NULL,
    recovers  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- The few that let a device in again.
CREATE INDEX tokens_recovering ON tokens (device) WHERE recovers = 1;

CREATE TABLE bindings (
    token     TEXT NOT NULL,
    key       BLOB NOT NULL,
    device    TEXT NOT NULL,
    serial    BLOB NOT NULL,
    at        INTEGER NOT NULL,
    confirmed INTEGER,
    PRIMARY KEY (token, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE authorities (
    name        TEXT NOT NULL,
    number      INTEGER NOT NULL,
    stage       TEXT NOT NULL,
    key         TEXT,
    certificate BLOB NOT NULL,
    created     INTEGER NOT NULL,
    revoked     INTEGER, -- since when somebody else has its key
    follows     TEXT,    -- the authority in whose root's place this root comes
    vouched     BLOB,    -- that root's cross-certificate for this one
    PRIMARY KEY (name, number),
    CHECK ((follows IS NULL) = (vouched IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE provisioners (
    id            INTEGER PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    kid           TEXT NOT NULL,
    jwk           TEXT NOT NULL,
    encrypted_key TEXT,
    profiles      TEXT NOT NULL, -- JSON, an array of words
    names         TEXT NOT NULL, -- JSON, an array of patterns
    may_replace   INTEGER NOT NULL,
    created       INTEGER NOT NULL
) STRICT;

CREATE TABLE operators (
    name     TEXT PRIMARY KEY,
    role     TEXT NOT NULL,
    key      BLOB,
    password TEXT,
    totp     BLOB,
    created  INTEGER NOT NULL,
    CHECK (totp IS NULL OR password IS NOT NULL)
) STRICT, WITHOUT ROWID;

-- A broker's row changes with every epoch that its agent proves.
CREATE TABLE brokers (
    name     TEXT PRIMARY KEY,
    program  TEXT NOT NULL,
    sans     TEXT NOT NULL, -- JSON, an array of names
    created  INTEGER NOT NULL,
    retired  INTEGER,
    enforced TEXT, -- JSON: number, sequence, at, micros, crl_until
    failed   TEXT, -- JSON: number, at, why
    version  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The devices that have topic rules of their own.
CREATE TABLE access (
    device TEXT PRIMARY KEY,
    rules  TEXT NOT NULL -- JSON: publish, subscribe
) STRICT, WITHOUT ROWID;

-- What has to be remembered for a while: sessions, used one-time codes.
CREATE TABLE drawer (
    key     TEXT PRIMARY KEY,
    value   BLOB NOT NULL,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX drawer_by_expiry ON drawer (expires);

-- The newest of each issuer.
CREATE TABLE crls (
    authority   TEXT NOT NULL,
    generation  INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    this_update INTEGER NOT NULL,
    next_update INTEGER NOT NULL,
    entries     INTEGER NOT NULL,
    covers      INTEGER NOT NULL, -- the audit entry up to which every revocation is in it
    der         BLOB NOT NULL,
    PRIMARY KEY (authority, generation)
) STRICT;

-- Also the outbox: an entry is the event that others hear, and its number their cursor.
CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY,
    writer   INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    actor    TEXT NOT NULL,
    via      TEXT NOT NULL,
    source   TEXT NOT NULL,
    action   TEXT NOT NULL,
    subject  TEXT NOT NULL,
    detail   TEXT NOT NULL,
    before   BLOB NOT NULL,
    hash     BLOB NOT NULL
) STRICT;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'audit entries are never changed'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'audit entries are never deleted'); END;

-- What the readiness check writes to see whether writing works; as large as a change, so that it fails when one would.
CREATE TABLE probe (
    id   INTEGER PRIMARY KEY,
    at   INTEGER NOT NULL,
    room BLOB NOT NULL
) STRICT;
