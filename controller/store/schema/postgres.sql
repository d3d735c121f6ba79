CREATE TABLE admission (
    id bytea NOT NULL,
    kind text COLLATE "C" NOT NULL,
    subject bytea NOT NULL,
    key bytea,
    school_id bytea NOT NULL,
    token_id bytea,
    device_id bytea,
    evidence text COLLATE "C" NOT NULL,
    host_name text COLLATE "C" NOT NULL,
    agent_version text COLLATE "C" NOT NULL,
    address text COLLATE "C" NOT NULL,
    first_us bigint NOT NULL,
    last_us bigint NOT NULL,
    times bigint NOT NULL,
    decision text COLLATE "C",
    decided_device bytea,
    decided_us bigint,
    decided_by text COLLATE "C",
    taken_us bigint,
    UNIQUE (subject),
    PRIMARY KEY (id),
    FOREIGN KEY (decided_device) REFERENCES device(id),
    FOREIGN KEY (device_id) REFERENCES device(id),
    FOREIGN KEY (school_id) REFERENCES school(id),
    FOREIGN KEY (token_id) REFERENCES token(id)
);
CREATE INDEX admission_by_device ON admission USING btree (device_id);
CREATE INDEX admission_by_school ON admission USING btree (school_id);

CREATE TABLE asset (
    id bytea NOT NULL,
    asset_no text COLLATE "C" NOT NULL,
    set_id bytea,
    school_id bytea,
    UNIQUE (asset_no),
    PRIMARY KEY (id)
);
CREATE INDEX asset_by_set ON asset USING btree (set_id, asset_no);

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
    issuance text COLLATE "C" NOT NULL,
    used_us bigint,
    superseded_us bigint,
    PRIMARY KEY (serial),
    FOREIGN KEY (device_id) REFERENCES device(id)
);
CREATE INDEX certificate_by_device ON certificate USING btree (device_id, recorded_us);

CREATE TABLE clone_run (
    device_id bytea NOT NULL,
    run_id bytea NOT NULL,
    seen_us bigint NOT NULL,
    PRIMARY KEY (device_id, run_id),
    FOREIGN KEY (device_id) REFERENCES device(id)
);

CREATE TABLE contract (
    id bytea NOT NULL,
    contractor text COLLATE "C" NOT NULL,
    webhook_url text COLLATE "C",
    webhook_secret bytea,
    webhook_local bigint NOT NULL,
    created_us bigint NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE contract_school (
    school_id bytea NOT NULL,
    contract_id bytea NOT NULL,
    PRIMARY KEY (school_id),
    FOREIGN KEY (contract_id) REFERENCES contract(id),
    FOREIGN KEY (school_id) REFERENCES school(id)
);
CREATE INDEX contract_school_by_contract ON contract_school USING btree (contract_id);

CREATE TABLE device (
    id bytea NOT NULL,
    school_id bytea NOT NULL,
    standing text COLLATE "C" NOT NULL,
    standing_us bigint NOT NULL,
    standing_why text COLLATE "C" NOT NULL,
    enrolled_us bigint NOT NULL,
    set_id bytea,
    frozen bigint NOT NULL,
    frozen_by text COLLATE "C",
    rollbacks bigint NOT NULL,
    canary_told bigint NOT NULL,
    canary_kept bigint NOT NULL,
    standing_kind text COLLATE "C" NOT NULL,
    sibling_of bytea,
    PRIMARY KEY (id),
    FOREIGN KEY (school_id) REFERENCES school(id),
    FOREIGN KEY (set_id) REFERENCES device_set(id),
    FOREIGN KEY (sibling_of) REFERENCES device(id)
);
CREATE INDEX device_by_school ON device USING btree (school_id, id);
CREATE INDEX device_by_set ON device USING btree (set_id);
CREATE INDEX device_by_sibling ON device USING btree (sibling_of);

CREATE TABLE device_set (
    id bytea NOT NULL,
    school_id bytea NOT NULL,
    code text COLLATE "C" NOT NULL,
    standing text COLLATE "C" NOT NULL,
    created_us bigint NOT NULL,
    UNIQUE (code),
    PRIMARY KEY (id),
    FOREIGN KEY (school_id) REFERENCES school(id)
);
CREATE INDEX device_set_by_school ON device_set USING btree (school_id, id);

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

CREATE TABLE fault (
    id bytea NOT NULL,
    set_id bytea NOT NULL,
    school_id bytea NOT NULL,
    kind text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    since_us bigint NOT NULL,
    raised_us bigint,
    cleared_us bigint,
    returns bigint NOT NULL,
    reason text COLLATE "C" NOT NULL,
    closed_us bigint,
    PRIMARY KEY (id),
    FOREIGN KEY (set_id) REFERENCES device_set(id)
);
CREATE INDEX fault_by_set ON fault USING btree (set_id, id);
CREATE INDEX fault_by_state ON fault USING btree (state, id) WHERE (closed_us IS NULL);
CREATE UNIQUE INDEX fault_open ON fault USING btree (set_id, kind) WHERE (closed_us IS NULL);

CREATE TABLE fault_change (
    fault_id bytea NOT NULL,
    no bigint NOT NULL,
    at_us bigint NOT NULL,
    state text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL,
    PRIMARY KEY (fault_id, no),
    FOREIGN KEY (fault_id) REFERENCES fault(id)
);

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

CREATE TABLE inquiry (
    id bytea NOT NULL,
    set_id bytea NOT NULL,
    school_id bytea NOT NULL,
    fault_id bytea NOT NULL,
    state text COLLATE "C" NOT NULL,
    opened_us bigint NOT NULL,
    reason text COLLATE "C" NOT NULL,
    answer text COLLATE "C",
    note text COLLATE "C" NOT NULL,
    closed_us bigint,
    closed_by text COLLATE "C",
    PRIMARY KEY (id),
    FOREIGN KEY (fault_id) REFERENCES fault(id),
    FOREIGN KEY (set_id) REFERENCES device_set(id)
);
CREATE INDEX inquiry_by_set ON inquiry USING btree (set_id, id);
CREATE UNIQUE INDEX inquiry_open ON inquiry USING btree (set_id) WHERE (closed_us IS NULL);

CREATE TABLE ledger_entry (
    no bigint NOT NULL,
    request bytea NOT NULL,
    at_us bigint NOT NULL,
    actor text COLLATE "C" NOT NULL,
    school_id bytea,
    asset_id bytea NOT NULL,
    kind text COLLATE "C" NOT NULL,
    effective_day bigint NOT NULL,
    body text COLLATE "C" NOT NULL,
    hash bytea NOT NULL,
    UNIQUE (request),
    PRIMARY KEY (no)
);
CREATE INDEX ledger_entry_by_asset ON ledger_entry USING btree (asset_id, no);

CREATE TABLE ledger_head (
    id bigint NOT NULL,
    entries bigint NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (id)
);

CREATE TABLE meta (
    key text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    PRIMARY KEY (key)
);

CREATE TABLE outbox (
    id bytea NOT NULL,
    contract_id bytea NOT NULL,
    ticket_id bytea NOT NULL,
    kind text COLLATE "C" NOT NULL,
    body text COLLATE "C" NOT NULL,
    made_us bigint NOT NULL,
    state text COLLATE "C" NOT NULL,
    attempts bigint NOT NULL,
    due_us bigint,
    PRIMARY KEY (id),
    FOREIGN KEY (contract_id) REFERENCES contract(id),
    FOREIGN KEY (ticket_id) REFERENCES ticket(id)
);
CREATE INDEX outbox_by_ticket ON outbox USING btree (ticket_id, id);
CREATE INDEX outbox_due ON outbox USING btree (due_us) WHERE (due_us IS NOT NULL);

CREATE TABLE outbox_attempt (
    outbox_id bytea NOT NULL,
    no bigint NOT NULL,
    at_us bigint NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL,
    PRIMARY KEY (outbox_id, no),
    FOREIGN KEY (outbox_id) REFERENCES outbox(id)
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

CREATE TABLE placement (
    set_id bytea NOT NULL,
    from_us bigint NOT NULL,
    to_us bigint,
    room_id bytea NOT NULL,
    PRIMARY KEY (set_id, from_us),
    FOREIGN KEY (room_id) REFERENCES room(id),
    FOREIGN KEY (set_id) REFERENCES device_set(id)
);
CREATE INDEX placement_by_room ON placement USING btree (room_id, from_us);
CREATE UNIQUE INDEX placement_now ON placement USING btree (set_id) WHERE (to_us IS NULL);

CREATE TABLE quarantine (
    device_id bytea NOT NULL,
    run_id bytea NOT NULL,
    seq bigint NOT NULL,
    school_id bytea NOT NULL,
    received_us bigint NOT NULL,
    reason text COLLATE "C" NOT NULL,
    body bytea NOT NULL,
    clone bigint NOT NULL,
    PRIMARY KEY (device_id, run_id, seq)
);

CREATE TABLE recon_case (
    id bytea NOT NULL,
    set_id bytea NOT NULL,
    school_id bytea NOT NULL,
    asset_id bytea NOT NULL,
    item text COLLATE "C" NOT NULL,
    booked text COLLATE "C" NOT NULL,
    observed text COLLATE "C" NOT NULL,
    opened_us bigint NOT NULL,
    settled_us bigint,
    settled_by text COLLATE "C",
    settlement text COLLATE "C",
    note text COLLATE "C",
    gone_us bigint,
    PRIMARY KEY (id),
    FOREIGN KEY (set_id) REFERENCES device_set(id)
);
CREATE UNIQUE INDEX recon_case_now ON recon_case USING btree (set_id, asset_id, item) WHERE (gone_us IS NULL);
CREATE INDEX recon_case_open ON recon_case USING btree (id) WHERE ((settled_us IS NULL) AND (gone_us IS NULL));

CREATE TABLE room (
    id bytea NOT NULL,
    school_id bytea NOT NULL,
    name text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    created_us bigint NOT NULL,
    UNIQUE (school_id, name),
    PRIMARY KEY (id),
    FOREIGN KEY (school_id) REFERENCES school(id)
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

CREATE TABLE ticket (
    id bytea NOT NULL,
    no text COLLATE "C" NOT NULL,
    set_id bytea NOT NULL,
    school_id bytea NOT NULL,
    contract_id bytea,
    kind text COLLATE "C" NOT NULL,
    fault_id bytea,
    inquiry_id bytea,
    state text COLLATE "C" NOT NULL,
    state_us bigint NOT NULL,
    opened_us bigint NOT NULL,
    closed_us bigint,
    reason text COLLATE "C" NOT NULL,
    UNIQUE (no),
    PRIMARY KEY (id),
    FOREIGN KEY (fault_id) REFERENCES fault(id),
    FOREIGN KEY (set_id) REFERENCES device_set(id)
);
CREATE INDEX ticket_by_fault ON ticket USING btree (fault_id);
CREATE INDEX ticket_by_set ON ticket USING btree (set_id, id);
CREATE UNIQUE INDEX ticket_open ON ticket USING btree (set_id, kind) WHERE (closed_us IS NULL);

CREATE TABLE ticket_event (
    ticket_id bytea NOT NULL,
    no bigint NOT NULL,
    at_us bigint NOT NULL,
    actor text COLLATE "C" NOT NULL,
    action text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    note text COLLATE "C" NOT NULL,
    PRIMARY KEY (ticket_id, no),
    FOREIGN KEY (ticket_id) REFERENCES ticket(id)
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

CREATE TABLE usage_day (
    device_id bytea NOT NULL,
    day bigint NOT NULL,
    school_id bytea NOT NULL,
    slots bytea NOT NULL,
    PRIMARY KEY (device_id, day)
);

CREATE TABLE usage_told (
    device_id bytea NOT NULL,
    first_slot bigint NOT NULL,
    until_slot bigint NOT NULL,
    PRIMARY KEY (device_id)
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
