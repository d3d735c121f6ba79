-- Ids are 16 raw bytes, times integer microseconds UTC, texts UTF-8 in order of their bytes, booleans 0 or 1.

CREATE TABLE meta (
    key   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);

CREATE TABLE school (
    id         BYTEA NOT NULL PRIMARY KEY,
    code       TEXT COLLATE "C" NOT NULL UNIQUE,
    name       TEXT COLLATE "C" NOT NULL,
    created_us BIGINT NOT NULL
);

-- A secret that lets a device enrol. Only its SHA-256 is kept.
CREATE TABLE token (
    id         BYTEA NOT NULL PRIMARY KEY,
    secret     BYTEA NOT NULL UNIQUE,
    school_id  BYTEA NOT NULL REFERENCES school (id),
    uses       BIGINT NOT NULL,
    used       BIGINT NOT NULL,
    expires_us BIGINT NOT NULL,
    created_us BIGINT NOT NULL,
    created_by TEXT COLLATE "C" NOT NULL
);

CREATE TABLE device (
    id            BYTEA NOT NULL PRIMARY KEY,
    school_id     BYTEA NOT NULL REFERENCES school (id),
    standing      TEXT COLLATE "C" NOT NULL,
    standing_us   BIGINT NOT NULL,
    standing_why  TEXT COLLATE "C" NOT NULL,
    enrolled_us   BIGINT NOT NULL
);
CREATE INDEX device_by_school ON device (school_id, id);

-- One use of a token by one key: the same key asking again gets the same device and uses nothing up.
CREATE TABLE token_use (
    token_id  BYTEA NOT NULL REFERENCES token (id),
    key       BYTEA NOT NULL,
    device_id BYTEA NOT NULL REFERENCES device (id),
    used_us   BIGINT NOT NULL,
    PRIMARY KEY (token_id, key)
);

-- Recorded before it is signed: a certificate without a row here was not issued by this county's controller.
CREATE TABLE certificate (
    serial        BYTEA NOT NULL PRIMARY KEY,
    device_id     BYTEA NOT NULL REFERENCES device (id),
    key           BYTEA NOT NULL,
    not_before_us BIGINT NOT NULL,
    not_after_us  BIGINT NOT NULL,
    recorded_us   BIGINT NOT NULL,
    der           BYTEA
);
CREATE INDEX certificate_by_device ON certificate (device_id, recorded_us);

CREATE TABLE evidence (
    device_id BYTEA NOT NULL REFERENCES device (id),
    kind      TEXT COLLATE "C" NOT NULL,
    value     TEXT COLLATE "C" NOT NULL,
    junk      BIGINT NOT NULL,
    seen_us   BIGINT NOT NULL,
    PRIMARY KEY (device_id, kind, value)
);
CREATE INDEX evidence_by_value ON evidence (kind, value);

-- One start of an agent, and which of its reports were seen (bbt_domain::seen).
CREATE TABLE run (
    device_id      BYTEA NOT NULL REFERENCES device (id),
    run_id         BYTEA NOT NULL,
    school_id      BYTEA NOT NULL,
    below          BIGINT NOT NULL,
    ranges         BYTEA NOT NULL,
    -- Of the wall clock at the run's last contact; NULL before its first.
    offset_us      BIGINT,
    first_us       BIGINT NOT NULL,
    last_us        BIGINT NOT NULL,
    PRIMARY KEY (device_id, run_id)
);

-- The latest state of each device in one row; lists and pages read only this.
CREATE TABLE device_state (
    device_id      BYTEA NOT NULL PRIMARY KEY REFERENCES device (id),
    school_id      BYTEA NOT NULL,
    -- The run that opened the newest session: only its reports change the snapshot, in order of seq.
    run_id         BYTEA NOT NULL,
    boot_id        BYTEA NOT NULL,
    session_us     BIGINT NOT NULL,
    address        TEXT COLLATE "C" NOT NULL,
    agent_version  TEXT COLLATE "C" NOT NULL,
    backlog_frames BIGINT NOT NULL,
    backlog_bytes  BIGINT NOT NULL,
    clean_stop     BIGINT,
    snapshot_seq   BIGINT NOT NULL,
    snapshot_us    BIGINT,
    snapshot       TEXT COLLATE "C",
    -- Of the device's wall clock against the controller's.
    clock_off_us   BIGINT
);

-- History as it arrives, appended in order of time; samples stay in the wire's own encoding.
CREATE TABLE history_frame (
    id          BYTEA NOT NULL PRIMARY KEY,
    device_id   BYTEA NOT NULL,
    school_id   BYTEA NOT NULL,
    run_id      BYTEA NOT NULL,
    seq         BIGINT NOT NULL,
    at_us       BIGINT NOT NULL,
    time_basis  BIGINT NOT NULL,
    -- Of the device when it made the frame: the samples' own times count on this clock.
    mono_us     BIGINT NOT NULL,
    body        BYTEA NOT NULL
);
CREATE INDEX history_frame_by_device ON history_frame (device_id, id);

CREATE TABLE gap (
    device_id  BYTEA NOT NULL,
    run_id     BYTEA NOT NULL,
    seq        BIGINT NOT NULL,
    school_id  BYTEA NOT NULL,
    class      TEXT COLLATE "C" NOT NULL,
    reason     TEXT COLLATE "C" NOT NULL,
    lost_run   BYTEA NOT NULL,
    first_seq  BIGINT NOT NULL,
    last_seq   BIGINT NOT NULL,
    lost       BIGINT NOT NULL,
    from_us    BIGINT NOT NULL,
    to_us      BIGINT NOT NULL,
    told_us    BIGINT NOT NULL,
    PRIMARY KEY (device_id, run_id, seq)
);

-- Reports that could not be read, kept apart for a person.
CREATE TABLE quarantine (
    device_id   BYTEA NOT NULL,
    run_id      BYTEA NOT NULL,
    seq         BIGINT NOT NULL,
    school_id   BYTEA NOT NULL,
    received_us BIGINT NOT NULL,
    reason      TEXT COLLATE "C" NOT NULL,
    body        BYTEA NOT NULL,
    PRIMARY KEY (device_id, run_id, seq)
);

CREATE TABLE person (
    id            BYTEA NOT NULL PRIMARY KEY,
    login         TEXT COLLATE "C" NOT NULL UNIQUE,
    role          TEXT COLLATE "C" NOT NULL,
    password      TEXT COLLATE "C" NOT NULL,
    language      TEXT COLLATE "C" NOT NULL,
    created_us    BIGINT NOT NULL,
    disabled_us   BIGINT
);

-- A signed-in browser. Only the SHA-256 of its cookie is kept.
CREATE TABLE web_session (
    secret     BYTEA NOT NULL PRIMARY KEY,
    person_id  BYTEA NOT NULL REFERENCES person (id),
    form_token TEXT COLLATE "C" NOT NULL,
    opened_us  BIGINT NOT NULL,
    seen_us    BIGINT NOT NULL,
    address    TEXT COLLATE "C" NOT NULL
);
CREATE INDEX web_session_by_person ON web_session (person_id);

CREATE TABLE audit (
    no      BIGINT NOT NULL PRIMARY KEY,
    at_us   BIGINT NOT NULL,
    actor   TEXT COLLATE "C" NOT NULL,
    action  TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    detail  TEXT COLLATE "C" NOT NULL,
    hash    BYTEA NOT NULL
);
CREATE INDEX audit_by_action ON audit (action, no);
