-- What devices are told to do, level by level: the county's, a school's, a device's. NULL is as the level above.
CREATE TABLE configuration (
    -- county, school, device
    level                   TEXT COLLATE "C" NOT NULL,
    -- The school or the device; sixteen zero bytes for the county.
    subject_id              BYTEA NOT NULL,
    sample_interval_secs    BIGINT,
    frame_interval_secs     BIGINT,
    inventory_interval_secs BIGINT,
    spool_max_bytes         BIGINT,
    spool_max_age_secs      BIGINT,
    -- One counter for the county. A device's revision is the greatest of its levels and of the lessons: each change of
    -- whatever it is told (values, live look, secrets) takes the next.
    revision                BIGINT NOT NULL UNIQUE,
    changed_us              BIGINT NOT NULL,
    changed_by              TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (level, subject_id)
);

-- The lessons that devices know: two weeks from this moment on. One row.
CREATE TABLE lesson_horizon (
    id       BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    from_us  BIGINT NOT NULL,
    revision BIGINT NOT NULL
);

-- Devices that somebody looks at live, until the end of it.
CREATE TABLE live_look (
    device_id            BYTEA NOT NULL PRIMARY KEY REFERENCES device (id),
    sample_interval_secs BIGINT NOT NULL,
    frame_interval_secs  BIGINT NOT NULL,
    until_us             BIGINT NOT NULL
);

-- What a device needs to ask others in its room, sealed with the key of the data folder.
CREATE TABLE device_secret (
    device_id BYTEA NOT NULL REFERENCES device (id),
    name      TEXT COLLATE "C" NOT NULL,
    sealed    BYTEA NOT NULL,
    set_us    BIGINT NOT NULL,
    set_by    TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (device_id, name)
);

-- What each device made of what it was told.
CREATE TABLE configuration_outcome (
    device_id         BYTEA NOT NULL PRIMARY KEY REFERENCES device (id),
    -- The newest that it put into force.
    applied_revision  BIGINT,
    applied_us        BIGINT,
    -- One that it refused since, with the first value that it does not take.
    rejected_revision BIGINT,
    rejected_us       BIGINT,
    rejected_key      TEXT COLLATE "C",
    rejected_reason   TEXT COLLATE "C"
);
