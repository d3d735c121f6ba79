-- What the county owns, how it differs from what is seen, and when it was in use. Days are numbers since
-- 1970-01-01 in county time.

-- The ledger. Rows are only ever appended; each holds the hash of the one before (bbt_domain::ledger::entry).
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

-- How many entries there are and the hash of the last, written with it: tells when the end was cut off.
CREATE TABLE ledger_head (
    id      INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    entries INTEGER NOT NULL,
    hash    BLOB NOT NULL
) WITHOUT ROWID;

-- Where to find a card; says nothing that the entries do not say, and can be made anew from them.
CREATE TABLE asset (
    id        BLOB NOT NULL PRIMARY KEY,
    asset_no  TEXT NOT NULL UNIQUE,
    set_id    BLOB,
    school_id BLOB
) WITHOUT ROWID;
CREATE INDEX asset_by_set ON asset (set_id, asset_no);

-- One difference between what is booked and what is seen, from when it was found until it is gone.
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

-- How long a device was on and in use: 288 slots of five minutes of one county day (bbt_domain::usage).
CREATE TABLE usage_day (
    device_id BLOB NOT NULL,
    day       INTEGER NOT NULL,
    school_id BLOB NOT NULL,
    slots     BLOB NOT NULL,
    PRIMARY KEY (device_id, day)
) WITHOUT ROWID;

-- From the first to the end of the latest slot that a device told of, in numbers of slots since 1970.
CREATE TABLE usage_told (
    device_id  BLOB NOT NULL PRIMARY KEY,
    first_slot INTEGER NOT NULL,
    until_slot INTEGER NOT NULL
) WITHOUT ROWID;
