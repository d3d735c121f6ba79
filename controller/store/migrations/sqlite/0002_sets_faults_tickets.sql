-- What stands where, what is wrong with it, and who is told.

CREATE TABLE room (
    id         BLOB NOT NULL PRIMARY KEY,
    school_id  BLOB NOT NULL REFERENCES school (id),
    name       TEXT NOT NULL,
    kind       TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    UNIQUE (school_id, name)
) WITHOUT ROWID;

-- One set of a classroom; "set" alone is a word of SQL. A device belongs to one for good.
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

ALTER TABLE device ADD COLUMN set_id BLOB REFERENCES device_set (id);
CREATE INDEX device_by_set ON device (set_id);

-- Where a set stood from when to when; the row without an end is where it stands.
CREATE TABLE placement (
    set_id  BLOB NOT NULL REFERENCES device_set (id),
    from_us INTEGER NOT NULL,
    to_us   INTEGER,
    room_id BLOB NOT NULL REFERENCES room (id),
    PRIMARY KEY (set_id, from_us)
) WITHOUT ROWID;
CREATE INDEX placement_by_room ON placement (room_id, from_us);
CREATE UNIQUE INDEX placement_now ON placement (set_id) WHERE to_us IS NULL;

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

-- A school is under one maintenance contract at a time.
CREATE TABLE contract_school (
    school_id   BLOB NOT NULL PRIMARY KEY REFERENCES school (id),
    contract_id BLOB NOT NULL REFERENCES contract (id)
) WITHOUT ROWID;
CREATE INDEX contract_school_by_contract ON contract_school (contract_id);

-- The state of one kind of fault of one set: one row for the whole story, until it is closed for good.
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
CREATE UNIQUE INDEX fault_open ON fault (set_id, kind) WHERE closed_us IS NULL;
CREATE INDEX fault_by_set ON fault (set_id, id);
CREATE INDEX fault_by_state ON fault (state, id) WHERE closed_us IS NULL;

-- Each change of a fault's state with what it rests on.
CREATE TABLE fault_change (
    fault_id BLOB NOT NULL REFERENCES fault (id),
    no       INTEGER NOT NULL,
    at_us    INTEGER NOT NULL,
    state    TEXT NOT NULL,
    reason   TEXT NOT NULL,
    PRIMARY KEY (fault_id, no)
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
CREATE UNIQUE INDEX ticket_open ON ticket (set_id, kind) WHERE closed_us IS NULL;
CREATE INDEX ticket_by_set ON ticket (set_id, id);
CREATE INDEX ticket_by_fault ON ticket (fault_id);

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

-- 核实单: a silent set is a question to its school.
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
CREATE UNIQUE INDEX inquiry_open ON inquiry (set_id) WHERE closed_us IS NULL;
CREATE INDEX inquiry_by_set ON inquiry (set_id, id);

-- What is to be told to a contractor, stored with the change that it is about.
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
CREATE INDEX outbox_due ON outbox (due_us) WHERE due_us IS NOT NULL;
CREATE INDEX outbox_by_ticket ON outbox (ticket_id, id);

CREATE TABLE outbox_attempt (
    outbox_id BLOB NOT NULL REFERENCES outbox (id),
    no        INTEGER NOT NULL,
    at_us     INTEGER NOT NULL,
    outcome   TEXT NOT NULL,
    reason    TEXT NOT NULL,
    PRIMARY KEY (outbox_id, no)
) WITHOUT ROWID;
