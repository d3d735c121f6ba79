-- What devices are told to do, level by level: the county's, a school's, a device's. NULL is as the level above.
CREATE TABLE configuration (
    -- county, school, device
    level                   TEXT NOT NULL,
    -- The school or the device; sixteen zero bytes for the county.
    subject_id              BLOB NOT NULL,
    sample_interval_secs    INTEGER,
    frame_interval_secs     INTEGER,
    inventory_interval_secs INTEGER,
    spool_max_bytes         INTEGER,
    spool_max_age_secs      INTEGER,
    -- One counter for the county. A device's revision is the greatest of its levels and of the lessons: each change of
    -- whatever it is told (values, live look, secrets) takes the next.
    revision                INTEGER NOT NULL UNIQUE,
    changed_us              INTEGER NOT NULL,
    changed_by              TEXT NOT NULL,
    PRIMARY KEY (level, subject_id)
) WITHOUT ROWID;

-- The lessons that devices know: two weeks from this moment on. One row.
CREATE TABLE lesson_horizon (
    id       INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    from_us  INTEGER NOT NULL,
    revision INTEGER NOT NULL
) WITHOUT ROWID;

-- Devices that somebody looks at live, until the end of it.
CREATE TABLE live_look (
    device_id            BLOB NOT NULL PRIMARY KEY REFERENCES device (id),
    sample_interval_secs INTEGER NOT NULL,
    frame_interval_secs  INTEGER NOT NULL,
    until_us             INTEGER NOT NULL
) WITHOUT ROWID;

-- What a device needs to ask others in its room, sealed with the key of the data folder.
CREATE TABLE device_secret (
    device_id BLOB NOT NULL REFERENCES device (id),
    name      TEXT NOT NULL,
    sealed    BLOB NOT NULL,
    set_us    INTEGER NOT NULL,
    set_by    TEXT NOT NULL,
    PRIMARY KEY (device_id, name)
) WITHOUT ROWID;

-- What each device made of what it was told.
CREATE TABLE configuration_outcome (
    device_id         BLOB NOT NULL PRIMARY KEY REFERENCES device (id),
    -- The newest that it put into force.
    applied_revision  INTEGER,
    applied_us        INTEGER,
    -- One that it refused since, with the first value that it does not take.
    rejected_revision INTEGER,
    rejected_us       INTEGER,
    rejected_key      TEXT,
    rejected_reason   TEXT
) WITHOUT ROWID;
