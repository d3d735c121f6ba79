CREATE TABLE audit (
    no      INTEGER NOT NULL PRIMARY KEY,
    at_us   INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail  TEXT NOT NULL,
    hash    BLOB NOT NULL
) WITHOUT ROWID;

CREATE INDEX audit_by_action ON audit (action, no);

CREATE TABLE certificate (
    serial        BLOB NOT NULL PRIMARY KEY,
    device_id     BLOB NOT NULL REFERENCES device (id),
    key           BLOB NOT NULL,
    not_before_us INTEGER NOT NULL,
    not_after_us  INTEGER NOT NULL,
    recorded_us   INTEGER NOT NULL,
    der           BLOB
) WITHOUT ROWID;

CREATE INDEX certificate_by_device ON certificate (device_id, recorded_us);

CREATE TABLE device (
    id            BLOB NOT NULL PRIMARY KEY,
    school_id     BLOB NOT NULL REFERENCES school (id),
    standing      TEXT NOT NULL,
    standing_us   INTEGER NOT NULL,
    standing_why  TEXT NOT NULL,
    enrolled_us   INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX device_by_school ON device (school_id, id);

CREATE TABLE device_state (
    device_id      BLOB NOT NULL PRIMARY KEY REFERENCES device (id),
    school_id      BLOB NOT NULL,
    -- The run that opened the newest session: only its reports change the snapshot, in order of seq.
    run_id         BLOB NOT NULL,
    boot_id        BLOB NOT NULL,
    session_us     INTEGER NOT NULL,
    address        TEXT NOT NULL,
    agent_version  TEXT NOT NULL,
    backlog_frames INTEGER NOT NULL,
    backlog_bytes  INTEGER NOT NULL,
    clean_stop     INTEGER,
    snapshot_seq   INTEGER NOT NULL,
    snapshot_us    INTEGER,
    snapshot       TEXT,
    -- Of the device's wall clock against the controller's.
    clock_off_us   INTEGER
) WITHOUT ROWID;

CREATE TABLE evidence (
    device_id BLOB NOT NULL REFERENCES device (id),
    kind      TEXT NOT NULL,
    value     TEXT NOT NULL,
    junk      INTEGER NOT NULL,
    seen_us   INTEGER NOT NULL,
    PRIMARY KEY (device_id, kind, value)
) WITHOUT ROWID;

CREATE INDEX evidence_by_value ON evidence (kind, value);

CREATE TABLE gap (
    device_id  BLOB NOT NULL,
    run_id     BLOB NOT NULL,
    seq        INTEGER NOT NULL,
    school_id  BLOB NOT NULL,
    class      TEXT NOT NULL,
    reason     TEXT NOT NULL,
    lost_run   BLOB NOT NULL,
    first_seq  INTEGER NOT NULL,
    last_seq   INTEGER NOT NULL,
    lost       INTEGER NOT NULL,
    from_us    INTEGER NOT NULL,
    to_us      INTEGER NOT NULL,
    told_us    INTEGER NOT NULL,
    PRIMARY KEY (device_id, run_id, seq)
) WITHOUT ROWID;

CREATE TABLE history_frame (
    id          BLOB NOT NULL PRIMARY KEY,
    device_id   BLOB NOT NULL,
    school_id   BLOB NOT NULL,
    run_id      BLOB NOT NULL,
    seq         INTEGER NOT NULL,
    at_us       INTEGER NOT NULL,
    time_basis  INTEGER NOT NULL,
    -- Of the device when it made the frame: the samples' own times count on this clock.
    mono_us     INTEGER NOT NULL,
    body        BLOB NOT NULL
) WITHOUT ROWID;

CREATE INDEX history_frame_by_device ON history_frame (device_id, id);

CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE person (
    id            BLOB NOT NULL PRIMARY KEY,
    login         TEXT NOT NULL UNIQUE,
    role          TEXT NOT NULL,
    password      TEXT NOT NULL,
    language      TEXT NOT NULL,
    created_us    INTEGER NOT NULL,
    disabled_us   INTEGER
) WITHOUT ROWID;

CREATE TABLE quarantine (
    device_id   BLOB NOT NULL,
    run_id      BLOB NOT NULL,
    seq         INTEGER NOT NULL,
    school_id   BLOB NOT NULL,
    received_us INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    body        BLOB NOT NULL,
    PRIMARY KEY (device_id, run_id, seq)
) WITHOUT ROWID;

CREATE TABLE run (
    device_id      BLOB NOT NULL REFERENCES device (id),
    run_id         BLOB NOT NULL,
    school_id      BLOB NOT NULL,
    below          INTEGER NOT NULL,
    ranges         BLOB NOT NULL,
    -- Of the wall clock at the run's last contact; NULL before its first.
    offset_us      INTEGER,
    first_us       INTEGER NOT NULL,
    last_us        INTEGER NOT NULL,
    PRIMARY KEY (device_id, run_id)
) WITHOUT ROWID;

CREATE TABLE schema_migration (
                 version    INTEGER NOT NULL PRIMARY KEY,
                 checksum   BLOB NOT NULL,
                 applied_us INTEGER NOT NULL
             ) WITHOUT ROWID;

CREATE TABLE school (
    id         BLOB NOT NULL PRIMARY KEY,
    code       TEXT NOT NULL UNIQUE,
    name       TEXT NOT NULL,
    created_us INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE token (
    id         BLOB NOT NULL PRIMARY KEY,
    secret     BLOB NOT NULL UNIQUE,
    school_id  BLOB NOT NULL REFERENCES school (id),
    uses       INTEGER NOT NULL,
    used       INTEGER NOT NULL,
    expires_us INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    created_by TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE token_use (
    token_id  BLOB NOT NULL REFERENCES token (id),
    key       BLOB NOT NULL,
    device_id BLOB NOT NULL REFERENCES device (id),
    used_us   INTEGER NOT NULL,
    PRIMARY KEY (token_id, key)
) WITHOUT ROWID;

CREATE TABLE web_session (
    secret     BLOB NOT NULL PRIMARY KEY,
    person_id  BLOB NOT NULL REFERENCES person (id),
    form_token TEXT NOT NULL,
    opened_us  INTEGER NOT NULL,
    seen_us    INTEGER NOT NULL,
    address    TEXT NOT NULL
) WITHOUT ROWID;

CREATE INDEX web_session_by_person ON web_session (person_id);
