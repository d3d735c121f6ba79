# Decisions in words: faults, questions to schools, tickets, deliveries
because-disk-low = { $mount } has only { $free } left (of { $size }, { $share })
because-disk-roomy = { $mount } has { $free } left (of { $size }, { $share }), which is enough
because-silent = Not switched on for { $days ->
    [one] 1 school day
   *[other] { $days } school days
 }; last report { $at }
because-silent-ever = Never reported since it joined, { $days ->
    [one] 1 school day
   *[other] { $days } school days
 } ago
because-heard = Reported again { $at }
because-not-expected = In storage, or its access is paused: not expected to be on
because-said-broken = The school says that it is broken
because-unanswered = The school did not answer, and the county made a ticket of it

fault-disk-nearly-full = Disk nearly full
fault-silent-set = Not switched on for days
fault-raised = Fault
fault-asked = To be checked
fault-suspected = Suspected
fault-recovering = Recovering
fault-over = Over

ticket-opened = Waiting to be accepted
ticket-accepted = Accepted
ticket-on-site = On site
ticket-fixed = Repaired, school to confirm
ticket-confirmed = Done
ticket-recovered = Went away by itself
ticket-withdrawn = Withdrawn
ticket-false-alarm = False alarm

act-accept = Accept
act-arrive = I am on site
act-fix = Repair done
act-confirm = Confirm the repair
act-reopen = Not repaired, send back
act-withdraw = Withdraw the ticket
act-call-false = Call it a false alarm
act-recover = Went away
act-recur = Came back
follows-accept = You take the repair on; the ticket then stays open even when the fault goes away by itself.
follows-arrive = Notes when you arrived.
follows-fix = The school is asked to confirm next, and may send it back.
follows-confirm = The ticket is done; the same fault coming back opens it again.
follows-reopen = The contractor has to go on, and is told.
follows-withdraw = The ticket is closed, and the contractor is told not to come. This cannot be taken back.
follows-call-false = The ticket is closed as a false alarm, and the contractor is told. This fault opens no other ticket. This cannot be taken back.
follows-recover = The fault went away by itself; the ticket is closed.
follows-recur = The same fault is back; the ticket is open again.
did-open = Opened
did-accept = Accepted
did-arrive = Arrived
did-fix = Repaired
did-confirm = Repair confirmed
did-reopen = Sent back
did-withdraw = Withdrawn
did-call-false = Called a false alarm
did-recover = The fault went away by itself: closed
did-recur = The same fault came back: open again
did-note-recovery = The fault is gone; the contractor still has to finish
did-note-again = The same fault came back and is part of this ticket

answer-not-used = Nobody used it
answer-broken = It is broken
answer-moved = It was taken away
answer-sealed = Put into storage
answer-no-power = No power or network
effect-will-ask-again = asked again in { $days ->
    [one] 1 school day
   *[other] { $days } school days
 }
effect-will-ticket = becomes a ticket
effect-will-taken-away = leaves its room, in storage
effect-will-sealed = in storage, not expected on
effect-done-ask-again = It is not treated as a fault; you are asked again after { $days ->
    [one] 1 more school day
   *[other] { $days } more school days
 } off.
effect-done-ticket = It became a ticket.
effect-done-taken-away = The set left its room and is in storage; it is not expected to be on.
effect-done-sealed = The set is in storage; it is not expected to be on.
inquiry-open = Waits for an answer
inquiry-answered = Answered
inquiry-withdrawn = Switched on again
inquiry-escalated = Not answered, became a ticket

message-waiting = Waiting
message-delivered = Delivered
message-given-up = Not delivered
message-ticket-opened = New ticket
message-ticket-recovered = Fault went away
message-ticket-reopened = Fault came back
message-ticket-returned = Sent back
message-ticket-withdrawn = Withdrawn
delivery-done = The receiver took it
delivery-other = Not delivered ({ $reason })
delivery-no-address = The receiver's name leads nowhere
delivery-no-address-do = See whether the contract's address is right; if it is, look at how the server resolves names.
delivery-refused-range = { $address } is not a public address: nothing was sent
delivery-refused-range-do = If it is meant to be inside your network, list it under [webhooks] allow.
delivery-refused-plain = The address is plain http and { $address } is not allowed for it: nothing was sent
delivery-refused-plain-do = Use an https address, or list the address under [webhooks] allow.
delivery-refused-port = The port at { $address } is not allowed: nothing was sent
delivery-refused-port-do = Use port 443 or 8443, or list the address under [webhooks] allow.
delivery-unreachable-refused = Nobody listens there (connection refused)
delivery-unreachable-refused-do = Ask the contractor to see that its receiver runs.
delivery-unreachable-no-route = No way leads there
delivery-unreachable-no-route-do = Look at the server's line to the internet.
delivery-unreachable-other = The connection failed
delivery-no-roots = The trusted roots cannot be read from { $path }
delivery-no-roots-do = Install root certificates on the server, or set [webhooks] ca_file.
delivery-tls-unknown-issuer = Nobody trusted issued the receiver's certificate
delivery-tls-unknown-issuer-do = Ask the contractor for another certificate, or add its root to [webhooks] ca_file.
delivery-tls-not-valid-now = The receiver's certificate is not good at this date
delivery-tls-not-valid-now-do = Ask the contractor to renew it; if it is good, look at the server's clock.
delivery-tls-wrong-name = The receiver's certificate names another host
delivery-tls-wrong-name-do = Compare the contract's address with the name in the certificate.
delivery-tls-handshake = No secure connection came about
delivery-tls-handshake-do = Ask the contractor whether the address speaks TLS 1.2 or later.
delivery-late-resolve = Looking up the name took too long
delivery-late-resolve-do = Look at how the server resolves names.
delivery-late-connect = Connecting took too long
delivery-late-connect-do = Ask the contractor to look at its network and firewall.
delivery-late-secure = Securing the connection took too long
delivery-late-answer = The receiver took too long to answer
delivery-late-answer-do = Ask the contractor to answer first and to work afterwards.
delivery-cut-off = The receiver cut the connection before it answered
delivery-not-http = The receiver's answer is not HTTP
delivery-not-http-do = See whether the contract's address is right.
delivery-redirect = The receiver points elsewhere ({ $status }), which is not followed
delivery-redirect-do = Enter its final address into the contract.
delivery-gone = The receiver wants nothing any more (410): not tried again
delivery-gone-do = Ask the contractor for its address, and tell this ticket by telephone.
delivery-status = The receiver answered { $status }
delivery-status-do = Ask the contractor to look at its receiver's log.
delivery-unsendable = The message cannot be written as a request: not tried again
delivery-unsendable-do = This is our own mistake: tell the administrator, and tell the contractor by telephone.
actor-system = System
actor-local = Server command line

# Pages of faults
faults-title = Faults
faults-show = Which time
faults-kinds = Kinds of faults
faults-now = Now
faults-all = All
faults-every-kind = Every kind
faults-none = There are no faults
faults-none-how = Faults are found in what devices report, such as a disk that is nearly full or a set that was not switched on for days. They are listed here; a ticket or a question to the school follows by itself, and they end by themselves when the sign is gone.
faults-none-such = No fault fits.
fault-facts = Details
fault-evidence = It rests on
story = What happened
list-csv = Export CSV
csv-cut = This file holds the newest { $most } lines at most
column-fault = Fault
column-place = Place
column-set-code = Set code
column-raised = First seen
column-since = In this state since
column-returns = Came back
column-ticket = Ticket
column-next = What follows
place-no-room = no room yet
fact-silent-days = School days off
fact-heard-at = Reported again
fact-mount-point = File system
fact-free = Free
fact-free-share = { $free } ({ $share })
fact-size = Size
fact-told-at = Told
fact-device = Device
fact-device-open = Open this device
inquiry-one = Question
inquiry-asked = The school was asked
inquiry-question = This set was not switched on for { $days ->
    [one] 1 school day
   *[other] { $days } school days
 }. Please say why.

# Pages of questions to schools
inquiries-title = Questions to schools
inquiries-show = Which
inquiries-open = Open
inquiries-all = All
inquiries-lead = A set that was not switched on for days is not necessarily broken. Please choose the reason.
inquiries-none = No question is open
inquiries-none-ever = There are no questions yet
inquiries-none-how = When a set was not switched on for some school days, its school is asked here why. The question goes away when the set is switched on again.
inquiry-asked-at = asked
inquiry-note = Anything to add (optional)
inquiry-answers = Reason
inquiry-escalate = Make it a ticket
inquiry-escalate-why = The school did not answer in time. The county may
inquiry-escalate-from = If the school does not answer, the county may make a ticket of it from
inquiry-noted = Noted: "{ $answer }". { $effect }
inquiry-escalated-done = The school did not answer, and it became a ticket.
inquiry-withdrawn-done = The set was switched on again; no answer is needed.
inquiry-fault = How the silence came about
column-answer = Answer
column-asked = Asked
column-closed = Closed
column-note = Note
column-question = Question
colon = {": "}
note-long = At most { $most } characters: make it shorter and send it again.
form-refused = Not done yet: something is missing in the form.
note-missing = Say in a sentence what happened.
failure-changed = It stands otherwise by now, and this cannot be done.
failure-changed-do = Nothing was changed. Go back, reload the page, and see how it stands.

# Pages of tickets
tickets-title = Tickets
tickets-show = Which
tickets-open = Open
tickets-all = All
tickets-none = No ticket is open
tickets-none-ever = There are no tickets yet
tickets-none-how = A ticket is opened and told to the contractor when a fault is found in what devices report, or when a school says that a set is broken.
ticket-nobody = no contract
ticket-noted = Noted
ticket-next = Next
ticket-others = Also possible
ticket-fault = How the fault came about
ticket-messages = Told to the contractor
ticket-no-contract = The school is under no contract: nobody was told. Telephone whoever mends it, and note here how it goes.
ticket-no-webhook = The contract has no address for messages: nobody was told. Telephone the contractor.
message-next = Next attempt
note-needed = Note (required)
note-optional = Note (optional)
column-contractor = Contractor
column-opened = Opened
column-age = Age
failure-no-ticket = There is no such ticket.
failure-no-ticket-do = See whether the number is complete, or look it up in the list of tickets.
