# Frame of the pages, sign-in, errors
product = Classroom equipment
skip-to-content = Skip to content
navigation = Navigation
language = Language
signed-in-as = Signed in as
sign-out = Sign out
devices = Devices
refusals = Refused
pages = Pages
page-first = First page
page-next = Next page
unknown = Unknown
never = Never
yes = Yes
no = No

sign-in = Sign in
sign-in-hint = Use the account that the county gave you.
sign-in-lost = Lost your password? The county administrator can reset it.
login = User name
password = Password
login-wrong = User name or password is not right. Check both and try again.
login-too-fast = Too many tries. Wait { $seconds ->
    [one] 1 second
   *[other] { $seconds } seconds
 } and try again. The account is not locked.

to-front-page = To the front page
failure-reference = Give this reference to the administrator, who finds the cause in the log:
failure-not-found = You may not see this, or it does not exist.
failure-not-found-do = See whether the address is complete, or look it up in the lists.
failure-forbidden = Your account may not do this.
failure-forbidden-do = If your work needs it, ask the county administrator for another role.
failure-foreign-form = This was not sent from a page of this system and was refused.
failure-foreign-form-do = Open the page here and do it again. If you followed a link from elsewhere, mind where it came from.
failure-form-too-old = The page was open for too long. Open it again and send it once more.
failure-form-too-old-do = Nothing was changed. If this goes on, see whether the browser blocks cookies.
failure-form-unreadable = What was sent cannot be read.
failure-form-unreadable-do = Go back and fill it in again; a text that is too long or a broken line does this.
failure-later = The system is busy and cannot do this now.
failure-later-do = Nothing was changed. Try again in a few seconds.
failure-disk-full = The server's disk is full; nothing can be saved.
failure-disk-full-do = Ask the administrator to free some space: the system goes on by itself then. What devices report waits on the devices and is not lost.
failure-broken = Something went wrong inside the system.
failure-broken-do = Nothing was changed. Try again later; if it goes on, ask the administrator.
