-- What stands where, what is wrong with it, and who is told.

CREATE TABLE room (
    id         BYTEA NOT NULL PRIMARY KEY,
    school_id  BYTEA NOT NULL REFERENCES school (id),
    name       TEXT COLLATE "C" NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL,
    created_us BIGINT NOT NULL,
    UNIQUE (school_id, name)
);

-- One set of a classroom; "set" alone is a word of SQL. A device belongs to one for good.
CREATE TABLE device_set (
    id         BYTEA NOT NULL PRIMARY KEY,
    school_id  BYTEA NOT NULL REFERENCES school (id),
    -- 设备码: six characters, random, never used again.
    code       TEXT COLLATE "C" NOT NULL UNIQUE,
    -- in_use, sealed: whether it is expected to work at all.
    standing   TEXT COLLATE "C" NOT NULL,
    created_us BIGINT NOT NULL
);
CREATE INDEX device_set_by_school ON device_set (school_id, id);

ALTER TABLE device ADD COLUMN set_id BYTEA REFERENCES device_set (id);
CREATE INDEX device_by_set ON device (set_id);

-- Where a set stood from when to when; the row without an end is where it stands.
CREATE TABLE placement (
    set_id  BYTEA NOT NULL REFERENCES device_set (id),
    from_us BIGINT NOT NULL,
    to_us   BIGINT,
    room_id BYTEA NOT NULL REFERENCES room (id),
    PRIMARY KEY (set_id, from_us)
);
CREATE INDEX placement_by_room ON placement (room_id, from_us);
CREATE UNIQUE INDEX placement_now ON placement (set_id) WHERE to_us IS NULL;

CREATE TABLE contract (
    id             BYTEA NOT NULL PRIMARY KEY,
    contractor     TEXT COLLATE "C" NOT NULL,
    webhook_url    TEXT COLLATE "C",
    -- Sealed with the key in pki/; never shown.
    webhook_secret BYTEA,
    -- Given at the controller's own command line: may point into the county's own network.
    webhook_local  BIGINT NOT NULL,
    created_us     BIGINT NOT NULL
);

-- A school is under one maintenance contract at a time.
CREATE TABLE contract_school (
    school_id   BYTEA NOT NULL PRIMARY KEY REFERENCES school (id),
    contract_id BYTEA NOT NULL REFERENCES contract (id)
);
CREATE INDEX contract_school_by_contract ON contract_school (contract_id);

-- The state of one kind of fault of one set: one row for the whole story, until it is closed for good.
CREATE TABLE fault (
    id         BYTEA NOT NULL PRIMARY KEY,
    set_id     BYTEA NOT NULL REFERENCES device_set (id),
    school_id  BYTEA NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL,
    state      TEXT COLLATE "C" NOT NULL,
    since_us   BIGINT NOT NULL,
    -- The first time it was raised; NULL while it is only suspected.
    raised_us  BIGINT,
    -- The last time it was cleared; NULL before.
    cleared_us BIGINT,
    -- How often it came back after it was cleared.
    returns    BIGINT NOT NULL,
    -- Why the state is what it is: code and arguments.
    reason     TEXT COLLATE "C" NOT NULL,
    -- Over for good: the same again is another fault.
    closed_us  BIGINT
);
CREATE UNIQUE INDEX fault_open ON fault (set_id, kind) WHERE closed_us IS NULL;
CREATE INDEX fault_by_set ON fault (set_id, id);
CREATE INDEX fault_by_state ON fault (state, id) WHERE closed_us IS NULL;

-- Each change of a fault's state with what it rests on.
CREATE TABLE fault_change (
    fault_id BYTEA NOT NULL REFERENCES fault (id),
    no       BIGINT NOT NULL,
    at_us    BIGINT NOT NULL,
    state    TEXT COLLATE "C" NOT NULL,
    reason   TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (fault_id, no)
);

CREATE TABLE ticket (
    id          BYTEA NOT NULL PRIMARY KEY,
    -- For people: day and number of the day.
    no          TEXT COLLATE "C" NOT NULL UNIQUE,
    set_id      BYTEA NOT NULL REFERENCES device_set (id),
    school_id   BYTEA NOT NULL,
    -- As of its opening; NULL when the school was under none.
    contract_id BYTEA,
    kind        TEXT COLLATE "C" NOT NULL,
    fault_id    BYTEA REFERENCES fault (id),
    inquiry_id  BYTEA,
    state       TEXT COLLATE "C" NOT NULL,
    state_us    BIGINT NOT NULL,
    opened_us   BIGINT NOT NULL,
    closed_us   BIGINT,
    reason      TEXT COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX ticket_open ON ticket (set_id, kind) WHERE closed_us IS NULL;
CREATE INDEX ticket_by_set ON ticket (set_id, id);
CREATE INDEX ticket_by_fault ON ticket (fault_id);

CREATE TABLE ticket_event (
    ticket_id BYTEA NOT NULL REFERENCES ticket (id),
    no        BIGINT NOT NULL,
    at_us     BIGINT NOT NULL,
    actor     TEXT COLLATE "C" NOT NULL,
    action    TEXT COLLATE "C" NOT NULL,
    state     TEXT COLLATE "C" NOT NULL,
    note      TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (ticket_id, no)
);

-- 核实单: a silent set is a question to its school.
CREATE TABLE inquiry (
    id          BYTEA NOT NULL PRIMARY KEY,
    set_id      BYTEA NOT NULL REFERENCES device_set (id),
    school_id   BYTEA NOT NULL,
    fault_id    BYTEA NOT NULL REFERENCES fault (id),
    state       TEXT COLLATE "C" NOT NULL,
    opened_us   BIGINT NOT NULL,
    reason      TEXT COLLATE "C" NOT NULL,
    answer      TEXT COLLATE "C",
    note        TEXT COLLATE "C" NOT NULL,
    closed_us   BIGINT,
    closed_by   TEXT COLLATE "C"
);
CREATE UNIQUE INDEX inquiry_open ON inquiry (set_id) WHERE closed_us IS NULL;
CREATE INDEX inquiry_by_set ON inquiry (set_id, id);

-- What is to be told to a contractor, stored with the change that it is about.
CREATE TABLE outbox (
    id          BYTEA NOT NULL PRIMARY KEY,
    contract_id BYTEA NOT NULL REFERENCES contract (id),
    ticket_id   BYTEA NOT NULL REFERENCES ticket (id),
    kind        TEXT COLLATE "C" NOT NULL,
    body        TEXT COLLATE "C" NOT NULL,
    made_us     BIGINT NOT NULL,
    state       TEXT COLLATE "C" NOT NULL,
    attempts    BIGINT NOT NULL,
    -- When the next attempt is due; NULL when there will be none.
    due_us      BIGINT
);
CREATE INDEX outbox_due ON outbox (due_us) WHERE due_us IS NOT NULL;
CREATE INDEX outbox_by_ticket ON outbox (ticket_id, id);

CREATE TABLE outbox_attempt (
    outbox_id BYTEA NOT NULL REFERENCES outbox (id),
    no        BIGINT NOT NULL,
    at_us     BIGINT NOT NULL,
    outcome   TEXT COLLATE "C" NOT NULL,
    reason    TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (outbox_id, no)
);
