CREATE TABLE admission (
    id             BLOB NOT NULL PRIMARY KEY,
    -- enrollment, clone, question
    kind           TEXT NOT NULL,
    -- What makes two requests one: SHA-256 of the key, or of device and evidence.
    subject        BLOB NOT NULL UNIQUE,
    -- SHA-256 of the key that asks; NULL where only a stream was seen.
    key            BLOB,
    school_id      BLOB NOT NULL REFERENCES school (id),
    token_id       BLOB REFERENCES token (id),
    -- Whose identity it showed; NULL of an enrolment.
    device_id      BLOB REFERENCES device (id),
    evidence       TEXT NOT NULL,
    host_name      TEXT NOT NULL,
    agent_version  TEXT NOT NULL,
    address        TEXT NOT NULL,
    first_us       INTEGER NOT NULL,
    last_us        INTEGER NOT NULL,
    times          INTEGER NOT NULL,
    -- same, new, refused; NULL while it waits
    decision       TEXT,
    decided_device BLOB REFERENCES device (id),
    decided_us     INTEGER,
    decided_by     TEXT,
    -- When the PC took what was decided; from then on it is not undone.
    taken_us       INTEGER
) WITHOUT ROWID;

CREATE INDEX admission_by_device ON admission (device_id);

CREATE INDEX admission_by_school ON admission (school_id);

CREATE TABLE asset (
    id        BLOB NOT NULL PRIMARY KEY,
    asset_no  TEXT NOT NULL UNIQUE,
    set_id    BLOB,
    school_id BLOB
) WITHOUT ROWID;

CREATE INDEX asset_by_set ON asset (set_id, asset_no);

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
, issuance TEXT NOT NULL DEFAULT 'enrollment', used_us INTEGER, superseded_us INTEGER) WITHOUT ROWID;

CREATE INDEX certificate_by_device ON certificate (device_id, recorded_us);

CREATE TABLE clone_run (
    device_id BLOB NOT NULL REFERENCES device (id),
    run_id    BLOB NOT NULL,
    seen_us   INTEGER NOT NULL,
    PRIMARY KEY (device_id, run_id)
) WITHOUT ROWID;

CREATE TABLE contract (
    id             BLOB NOT NULL PRIMARY KEY,
    contractor     TEXT NOT NULL,
    webhook_url    TEXT,
    -- Sealed with the key in pki/; never shown.
    webhook_secret BLOB,
    -- Given at the controller's own command line: may point into the county's own network.
    webhook_local  INTEGER NOT NULL,
    created_us     INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE contract_school (
    school_id   BLOB NOT NULL PRIMARY KEY REFERENCES school (id),
    contract_id BLOB NOT NULL REFERENCES contract (id)
) WITHOUT ROWID;

CREATE INDEX contract_school_by_contract ON contract_school (contract_id);

CREATE TABLE device (
    id            BLOB NOT NULL PRIMARY KEY,
    school_id     BLOB NOT NULL REFERENCES school (id),
    standing      TEXT NOT NULL,
    standing_us   INTEGER NOT NULL,
    standing_why  TEXT NOT NULL,
    enrolled_us   INTEGER NOT NULL
, set_id BLOB REFERENCES device_set (id), frozen INTEGER NOT NULL DEFAULT 0, frozen_by TEXT, rollbacks INTEGER NOT NULL DEFAULT 0, canary_told INTEGER NOT NULL DEFAULT 0, canary_kept INTEGER NOT NULL DEFAULT 0, standing_kind TEXT NOT NULL DEFAULT 'plain', sibling_of BLOB REFERENCES device (id)) WITHOUT ROWID;

CREATE INDEX device_by_school ON device (school_id, id);

CREATE INDEX device_by_set ON device (set_id);

CREATE INDEX device_by_sibling ON device (sibling_of);

CREATE TABLE device_set (
    id         BLOB NOT NULL PRIMARY KEY,
    school_id  BLOB NOT NULL REFERENCES school (id),
    -- 设备码: six characters, random, never used again.
    code       TEXT NOT NULL UNIQUE,
    -- in_use, sealed: whether it is expected to work at all.
    standing   TEXT NOT NULL,
    created_us INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX device_set_by_school ON device_set (school_id, id);

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

CREATE TABLE fault (
    id         BLOB NOT NULL PRIMARY KEY,
    set_id     BLOB NOT NULL REFERENCES device_set (id),
    school_id  BLOB NOT NULL,
    kind       TEXT NOT NULL,
    state      TEXT NOT NULL,
    since_us   INTEGER NOT NULL,
    -- The first time it was raised; NULL while it is only suspected.
    raised_us  INTEGER,
    -- The last time it was cleared; NULL before.
    cleared_us INTEGER,
    -- How often it came back after it was cleared.
    returns    INTEGER NOT NULL,
    -- Why the state is what it is: code and arguments.
    reason     TEXT NOT NULL,
    -- Over for good: the same again is another fault.
    closed_us  INTEGER
) WITHOUT ROWID;

CREATE INDEX fault_by_set ON fault (set_id, id);

CREATE INDEX fault_by_state ON fault (state, id) WHERE closed_us IS NULL;

CREATE TABLE fault_change (
    fault_id BLOB NOT NULL REFERENCES fault (id),
    no       INTEGER NOT NULL,
    at_us    INTEGER NOT NULL,
    state    TEXT NOT NULL,
    reason   TEXT NOT NULL,
    PRIMARY KEY (fault_id, no)
) WITHOUT ROWID;

CREATE UNIQUE INDEX fault_open ON fault (set_id, kind) WHERE closed_us IS NULL;

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
);

CREATE INDEX history_frame_by_device ON history_frame (device_id, id);

CREATE TABLE inquiry (
    id          BLOB NOT NULL PRIMARY KEY,
    set_id      BLOB NOT NULL REFERENCES device_set (id),
    school_id   BLOB NOT NULL,
    fault_id    BLOB NOT NULL REFERENCES fault (id),
    state       TEXT NOT NULL,
    opened_us   INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    answer      TEXT,
    note        TEXT NOT NULL,
    closed_us   INTEGER,
    closed_by   TEXT
) WITHOUT ROWID;

CREATE INDEX inquiry_by_set ON inquiry (set_id, id);

CREATE UNIQUE INDEX inquiry_open ON inquiry (set_id) WHERE closed_us IS NULL;

CREATE TABLE ledger_entry (
    no            INTEGER NOT NULL PRIMARY KEY,
    -- The caller's id of what it asked for: asked again, nothing is appended.
    request       BLOB NOT NULL UNIQUE,
    at_us         INTEGER NOT NULL,
    actor         TEXT NOT NULL,
    school_id     BLOB,
    asset_id      BLOB NOT NULL,
    kind          TEXT NOT NULL,
    effective_day INTEGER NOT NULL,
    body          TEXT NOT NULL,
    hash          BLOB NOT NULL
) WITHOUT ROWID;

CREATE INDEX ledger_entry_by_asset ON ledger_entry (asset_id, no);

CREATE TABLE ledger_head (
    id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    entries INTEGER NOT NULL,
    hash    BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE outbox (
    id          BLOB NOT NULL PRIMARY KEY,
    contract_id BLOB NOT NULL REFERENCES contract (id),
    ticket_id   BLOB NOT NULL REFERENCES ticket (id),
    kind        TEXT NOT NULL,
    body        TEXT NOT NULL,
    made_us     INTEGER NOT NULL,
    state       TEXT NOT NULL,
    attempts    INTEGER NOT NULL,
    -- When the next attempt is due; NULL when there will be none.
    due_us      INTEGER
) WITHOUT ROWID;

CREATE TABLE outbox_attempt (
    outbox_id BLOB NOT NULL REFERENCES outbox (id),
    no        INTEGER NOT NULL,
    at_us     INTEGER NOT NULL,
    outcome   TEXT NOT NULL,
    reason    TEXT NOT NULL,
    PRIMARY KEY (outbox_id, no)
) WITHOUT ROWID;

CREATE INDEX outbox_by_ticket ON outbox (ticket_id, id);

CREATE INDEX outbox_due ON outbox (due_us) WHERE due_us IS NOT NULL;

CREATE TABLE person (
    id            BLOB NOT NULL PRIMARY KEY,
    login         TEXT NOT NULL UNIQUE,
    role          TEXT NOT NULL,
    password      TEXT NOT NULL,
    language      TEXT NOT NULL,
    created_us    INTEGER NOT NULL,
    disabled_us   INTEGER
) WITHOUT ROWID;

CREATE TABLE placement (
    set_id  BLOB NOT NULL REFERENCES device_set (id),
    from_us INTEGER NOT NULL,
    to_us   INTEGER,
    room_id BLOB NOT NULL REFERENCES room (id),
    PRIMARY KEY (set_id, from_us)
) WITHOUT ROWID;

CREATE INDEX placement_by_room ON placement (room_id, from_us);

CREATE UNIQUE INDEX placement_now ON placement (set_id) WHERE to_us IS NULL;

CREATE TABLE quarantine (
    device_id   BLOB NOT NULL,
    run_id      BLOB NOT NULL,
    seq         INTEGER NOT NULL,
    school_id   BLOB NOT NULL,
    received_us INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    body        BLOB NOT NULL, clone INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (device_id, run_id, seq)
) WITHOUT ROWID;

CREATE TABLE recon_case (
    id          BLOB NOT NULL PRIMARY KEY,
    set_id      BLOB NOT NULL REFERENCES device_set (id),
    school_id   BLOB NOT NULL,
    asset_id    BLOB NOT NULL,
    -- processor, memory, disk, serial.
    item        TEXT NOT NULL,
    -- Both as JSON.
    booked      TEXT NOT NULL,
    observed    TEXT NOT NULL,
    opened_us   INTEGER NOT NULL,
    -- When a person said what it is; NULL while open.
    settled_us  INTEGER,
    settled_by  TEXT,
    -- repair, move, theft, wrong_entry, other.
    settlement  TEXT,
    note        TEXT,
    -- When the difference was there no more, settled or not.
    gone_us     INTEGER
) WITHOUT ROWID;

CREATE UNIQUE INDEX recon_case_now ON recon_case (set_id, asset_id, item) WHERE gone_us IS NULL;

CREATE INDEX recon_case_open ON recon_case (id) WHERE settled_us IS NULL AND gone_us IS NULL;

CREATE TABLE room (
    id         BLOB NOT NULL PRIMARY KEY,
    school_id  BLOB NOT NULL REFERENCES school (id),
    name       TEXT NOT NULL,
    kind       TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    UNIQUE (school_id, name)
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

CREATE TABLE ticket (
    id          BLOB NOT NULL PRIMARY KEY,
    -- For people: day and number of the day.
    no          TEXT NOT NULL UNIQUE,
    set_id      BLOB NOT NULL REFERENCES device_set (id),
    school_id   BLOB NOT NULL,
    -- As of its opening; NULL when the school was under none.
    contract_id BLOB,
    kind        TEXT NOT NULL,
    fault_id    BLOB REFERENCES fault (id),
    inquiry_id  BLOB,
    state       TEXT NOT NULL,
    state_us    INTEGER NOT NULL,
    opened_us   INTEGER NOT NULL,
    closed_us   INTEGER,
    reason      TEXT NOT NULL
) WITHOUT ROWID;

CREATE INDEX ticket_by_fault ON ticket (fault_id);

CREATE INDEX ticket_by_set ON ticket (set_id, id);

CREATE TABLE ticket_event (
    ticket_id BLOB NOT NULL REFERENCES ticket (id),
    no        INTEGER NOT NULL,
    at_us     INTEGER NOT NULL,
    actor     TEXT NOT NULL,
    action    TEXT NOT NULL,
    state     TEXT NOT NULL,
    note      TEXT NOT NULL,
    PRIMARY KEY (ticket_id, no)
) WITHOUT ROWID;

CREATE UNIQUE INDEX ticket_open ON ticket (set_id, kind) WHERE closed_us IS NULL;

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

CREATE TABLE usage_day (
    device_id BLOB NOT NULL,
    day       INTEGER NOT NULL,
    school_id BLOB NOT NULL,
    slots     BLOB NOT NULL,
    PRIMARY KEY (device_id, day)
) WITHOUT ROWID;

CREATE TABLE usage_told (
    device_id  BLOB NOT NULL PRIMARY KEY,
    first_slot INTEGER NOT NULL,
    until_slot INTEGER NOT NULL
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
