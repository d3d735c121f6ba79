# What is wrong with the controller itself
trouble = Something is wrong with this system
trouble-since = since
trouble-store-no-space = The server's disk is full: nothing can be saved. Devices keep their reports and send them later.
trouble-store-no-space-do = Free some space on the disk that holds the data; the system goes on by itself.
trouble-store-read-only = The server's disk is read-only: nothing can be saved. Devices keep their reports and send them later.
trouble-store-read-only-do = Ask whoever looks after the server why the system made it so (its log says it); once it can be written again, the system goes on by itself.
trouble-store-io-error = The server's disk fails: nothing can be saved. Devices keep their reports and send them later.
trouble-store-io-error-do = Ask whoever looks after the server to look at the disk and its cable, and to have a backup at hand; the system goes on by itself when the disk works.
trouble-store-engine = The database takes nothing now. Devices keep their reports and send them later.
trouble-store-engine-do = The log says why. If it goes on, ask whoever looks after the server.
trouble-database-damaged = The database is damaged and takes nothing more. What is shown may be incomplete. Devices keep their reports and send them later.
trouble-database-damaged-do = Stop the controller and run bbt-controller restore with the last backup. Devices then send again what the backup does not have.
trouble-clock-behind = The server's clock is { $hours ->
    [one] 1 hour
   *[other] { $hours } hours
 } behind. No certificate is issued until this is settled.
trouble-clock-behind-do = Set the clock. If it is right, run bbt-controller clock accept.
trouble-clock-ahead = The server's clock is { $hours ->
    [one] 1 hour
   *[other] { $hours } hours
 } ahead of what it was. No certificate is issued until this is settled.
trouble-clock-ahead-do = Set the clock. If it is right, run bbt-controller clock accept.
trouble-backup-failed = The last nightly backup failed.
trouble-backup-failed-do = The log says why. Run bbt-controller backup, or see whether it succeeds next night.
trouble-backup-old = The newest nightly backup is of { $at }.
trouble-backup-old-do = See in the log why none was made since, or run bbt-controller backup.
trouble-backup-none = There is no nightly backup yet.
trouble-backup-none-do = See in the log why none was made, or run bbt-controller backup.
trouble-intermediate-old = The certificate that issues devices' certificates ends on { $at }.
trouble-intermediate-old-do = Fetch the root key and run bbt-controller ca rotate.
