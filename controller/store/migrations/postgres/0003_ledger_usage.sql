-- What the county owns, how it differs from what is seen, and when it was in use. Days are numbers since
-- 1970-01-01 in county time.

-- The ledger. Rows are only ever appended; each holds the hash of the one before (bbt_domain::ledger::entry).
CREATE TABLE ledger_entry (
    no            BIGINT NOT NULL PRIMARY KEY,
    -- The caller's id of what it asked for: asked again, nothing is appended.
    request       BYTEA NOT NULL UNIQUE,
    at_us         BIGINT NOT NULL,
    actor         TEXT COLLATE "C" NOT NULL,
    school_id     BYTEA,
    asset_id      BYTEA NOT NULL,
    kind          TEXT COLLATE "C" NOT NULL,
    effective_day BIGINT NOT NULL,
    body          TEXT COLLATE "C" NOT NULL,
    hash          BYTEA NOT NULL
);
CREATE INDEX ledger_entry_by_asset ON ledger_entry (asset_id, no);

-- How many entries there are and the hash of the last, written with it: tells when the end was cut off.
CREATE TABLE ledger_head (
    id      BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    entries BIGINT NOT NULL,
    hash    BYTEA NOT NULL
);

-- Where to find a card; says nothing that the entries do not say, and can be made anew from them.
CREATE TABLE asset (
    id        BYTEA NOT NULL PRIMARY KEY,
    asset_no  TEXT COLLATE "C" NOT NULL UNIQUE,
    set_id    BYTEA,
    school_id BYTEA
);
CREATE INDEX asset_by_set ON asset (set_id, asset_no);

-- One difference between what is booked and what is seen, from when it was found until it is gone.
CREATE TABLE recon_case (
    id          BYTEA NOT NULL PRIMARY KEY,
    set_id      BYTEA NOT NULL REFERENCES device_set (id),
    school_id   BYTEA NOT NULL,
    asset_id    BYTEA NOT NULL,
    -- processor, memory, disk, serial.
    item        TEXT COLLATE "C" NOT NULL,
    -- Both as JSON.
    booked      TEXT COLLATE "C" NOT NULL,
    observed    TEXT COLLATE "C" NOT NULL,
    opened_us   BIGINT NOT NULL,
    -- When a person said what it is; NULL while open.
    settled_us  BIGINT,
    settled_by  TEXT COLLATE "C",
    -- repair, move, theft, wrong_entry, other.
    settlement  TEXT COLLATE "C",
    note        TEXT COLLATE "C",
    -- When the difference was there no more, settled or not.
    gone_us     BIGINT
);
CREATE UNIQUE INDEX recon_case_now ON recon_case (set_id, asset_id, item) WHERE gone_us IS NULL;
CREATE INDEX recon_case_open ON recon_case (id) WHERE settled_us IS NULL AND gone_us IS NULL;

-- How long a device was on and in use: 288 slots of five minutes of one county day (bbt_domain::usage).
CREATE TABLE usage_day (
    device_id BYTEA NOT NULL,
    day       BIGINT NOT NULL,
    school_id BYTEA NOT NULL,
    slots     BYTEA NOT NULL,
    PRIMARY KEY (device_id, day)
);

-- From the first to the end of the latest slot that a device told of, in numbers of slots since 1970.
CREATE TABLE usage_told (
    device_id  BYTEA NOT NULL PRIMARY KEY,
    first_slot BIGINT NOT NULL,
    until_slot BIGINT NOT NULL
);
