CREATE TABLE audit (
    no bigint NOT NULL,
    at_us bigint NOT NULL,
    actor text COLLATE "C" NOT NULL,
    action text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    detail text COLLATE "C" NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (no)
);
CREATE INDEX audit_by_action ON audit USING btree (action, no);

CREATE TABLE certificate (
    serial bytea NOT NULL,
    device_id bytea NOT NULL,
    key bytea NOT NULL,
    not_before_us bigint NOT NULL,
    not_after_us bigint NOT NULL,
    recorded_us bigint NOT NULL,
    der bytea,
    PRIMARY KEY (serial),
    FOREIGN KEY (device_id) REFERENCES device(id)
);
CREATE INDEX certificate_by_device ON certificate USING btree (device_id, recorded_us);

CREATE TABLE device (
    id bytea NOT NULL,
    school_id bytea NOT NULL,
    standing text COLLATE "C" NOT NULL,
    standing_us bigint NOT NULL,
    standing_why text COLLATE "C" NOT NULL,
    enrolled_us bigint NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY (school_id) REFERENCES school(id)
);
CREATE INDEX device_by_school ON device USING btree (school_id, id);

CREATE TABLE device_state (
    device_id bytea NOT NULL,
    school_id bytea NOT NULL,
    run_id bytea NOT NULL,
    boot_id bytea NOT NULL,
    session_us bigint NOT NULL,
    address text COLLATE "C" NOT NULL,
    agent_version text COLLATE "C" NOT NULL,
    backlog_frames bigint NOT NULL,
    backlog_bytes bigint NOT NULL,
    clean_stop bigint,
    snapshot_seq bigint NOT NULL,
    snapshot_us bigint,
    snapshot text COLLATE "C",
    clock_off_us bigint,
    PRIMARY KEY (device_id),
    FOREIGN KEY (device_id) REFERENCES device(id)
);

CREATE TABLE evidence (
    device_id bytea NOT NULL,
    kind text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    junk bigint NOT NULL,
    seen_us bigint NOT NULL,
    PRIMARY KEY (device_id, kind, value),
    FOREIGN KEY (device_id) REFERENCES device(id)
);
CREATE INDEX evidence_by_value ON evidence USING btree (kind, value);

CREATE TABLE gap (
    device_id bytea NOT NULL,
    run_id bytea NOT NULL,
    seq bigint NOT NULL,
    school_id bytea NOT NULL,
    class text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL,
    lost_run bytea NOT NULL,
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    lost bigint NOT NULL,
    from_us bigint NOT NULL,
    to_us bigint NOT NULL,
    told_us bigint NOT NULL,
    PRIMARY KEY (device_id, run_id, seq)
);

CREATE TABLE history_frame (
    id bytea NOT NULL,
    device_id bytea NOT NULL,
    school_id bytea NOT NULL,
    run_id bytea NOT NULL,
    seq bigint NOT NULL,
    at_us bigint NOT NULL,
    time_basis bigint NOT NULL,
    mono_us bigint NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX history_frame_by_device ON history_frame USING btree (device_id, id);

CREATE TABLE meta (
    key text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    PRIMARY KEY (key)
);

CREATE TABLE person (
    id bytea NOT NULL,
    login text COLLATE "C" NOT NULL,
    role text COLLATE "C" NOT NULL,
    password text COLLATE "C" NOT NULL,
    language text COLLATE "C" NOT NULL,
    created_us bigint NOT NULL,
    disabled_us bigint,
    UNIQUE (login),
    PRIMARY KEY (id)
);

CREATE TABLE quarantine (
    device_id bytea NOT NULL,
    run_id bytea NOT NULL,
    seq bigint NOT NULL,
    school_id bytea NOT NULL,
    received_us bigint NOT NULL,
    reason text COLLATE "C" NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (device_id, run_id, seq)
);

CREATE TABLE run (
    device_id bytea NOT NULL,
    run_id bytea NOT NULL,
    school_id bytea NOT NULL,
    below bigint NOT NULL,
    ranges bytea NOT NULL,
    offset_us bigint,
    first_us bigint NOT NULL,
    last_us bigint NOT NULL,
    PRIMARY KEY (device_id, run_id),
    FOREIGN KEY (device_id) REFERENCES device(id)
);

CREATE TABLE schema_migration (
    version bigint NOT NULL,
    checksum bytea NOT NULL,
    applied_us bigint NOT NULL,
    PRIMARY KEY (version)
);

CREATE TABLE school (
    id bytea NOT NULL,
    code text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    created_us bigint NOT NULL,
    UNIQUE (code),
    PRIMARY KEY (id)
);

CREATE TABLE token (
    id bytea NOT NULL,
    secret bytea NOT NULL,
    school_id bytea NOT NULL,
    uses bigint NOT NULL,
    used bigint NOT NULL,
    expires_us bigint NOT NULL,
    created_us bigint NOT NULL,
    created_by text COLLATE "C" NOT NULL,
    UNIQUE (secret),
    PRIMARY KEY (id),
    FOREIGN KEY (school_id) REFERENCES school(id)
);

CREATE TABLE token_use (
    token_id bytea NOT NULL,
    key bytea NOT NULL,
    device_id bytea NOT NULL,
    used_us bigint NOT NULL,
    PRIMARY KEY (token_id, key),
    FOREIGN KEY (device_id) REFERENCES device(id),
    FOREIGN KEY (token_id) REFERENCES token(id)
);

CREATE TABLE web_session (
    secret bytea NOT NULL,
    person_id bytea NOT NULL,
    form_token text COLLATE "C" NOT NULL,
    opened_us bigint NOT NULL,
    seen_us bigint NOT NULL,
    address text COLLATE "C" NOT NULL,
    PRIMARY KEY (secret),
    FOREIGN KEY (person_id) REFERENCES person(id)
);
CREATE INDEX web_session_by_person ON web_session USING btree (person_id);
