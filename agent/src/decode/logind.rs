//! Session files of systemd-logind (`/run/systemd/sessions/ID`), lines of `KEY=VALUE`, and what `loginctl` answers.
//!
//! A session file also says whose session it is. That is not read: no key but the three below is looked at.

/// Whether this is the session of somebody who sits at the set itself now: signed in, at a seat, and in front.
/// A greeter, a session over the network and one behind another are not.
#[must_use]
pub fn is_at_seat(file: &str) -> bool {
    let is_person = value(file, "CLASS").is_some_and(|class| class == "user" || class.starts_with("user-"));
    let has_seat = value(file, "SEAT").is_some_and(|seat| !seat.is_empty());
    is_person && has_seat && value(file, "ACTIVE") == Some("1")
}

/// The answer to `loginctl show-session ID -p IdleHint`.
#[must_use]
pub fn idle_hint(answer: &str) -> Option<bool> {
    match value(answer, "IdleHint")? {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.trim_end().strip_prefix(key)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As systemd 252 writes it for somebody at a desktop.
    const DESKTOP: &str = "# This is private data. Do not parse.\nUID=1000\nUSER=x\nACTIVE=1\nIS_DISPLAY=1\n\
        STATE=active\nREMOTE=0\nTYPE=x11\nORIGINAL_TYPE=x11\nCLASS=user\nSCOPE=session-2.scope\nSEAT=seat0\n\
        TTY=tty2\nVTNR=2\nLEADER=900\n";

    #[test]
    fn somebody_at_the_desktop_is_at_the_seat() {
        assert!(is_at_seat(DESKTOP));
        assert!(is_at_seat(&DESKTOP.replace("CLASS=user", "CLASS=user-early")));
    }

    #[test]
    fn a_greeter_a_session_behind_another_and_one_over_the_network_are_not() {
        assert!(!is_at_seat(&DESKTOP.replace("CLASS=user", "CLASS=greeter")));
        assert!(!is_at_seat(&DESKTOP.replace("ACTIVE=1", "ACTIVE=0")));
        assert!(!is_at_seat(&DESKTOP.replace("SEAT=seat0\n", "")));
        assert!(!is_at_seat(&DESKTOP.replace("SEAT=seat0", "SEAT=")));
        assert!(!is_at_seat("not a session file"));
    }

    #[test]
    fn an_idle_hint_is_yes_no_or_not_told() {
        assert_eq!(idle_hint("IdleHint=yes\n"), Some(true));
        assert_eq!(idle_hint("IdleHint=no\n"), Some(false));
        assert_eq!(idle_hint("IdleHint=\n"), None);
        assert_eq!(idle_hint(""), None);
    }
}
