//! What stands around every page: county, navigation, language, who signed in.

use bbt_domain::access::{Act, Actor, may};

use super::{
    Site, assets,
    language::Language,
    visit::Visit,
    words::{self, Warning},
};

/// The navigation in its order: address, key of the word, and what one must be allowed to do to be led there.
const NAVIGATION: [(&str, &str, Act); 10] = [
    ("/overview", "navigation-overview", Act::FleetRead),
    ("/sets", "navigation-sets", Act::FleetRead),
    ("/faults", "navigation-faults", Act::FaultRead),
    ("/inquiries", "navigation-inquiries", Act::FaultRead),
    ("/tickets", "navigation-tickets", Act::FaultRead),
    ("/usage", "navigation-usage", Act::UsageRead),
    ("/schools", "navigation-schools", Act::FleetRead),
    ("/devices", "devices", Act::FleetRead),
    ("/admissions", "admissions", Act::FleetRead),
    ("/refusals", "refusals", Act::AuditRead),
];

/// An entry of the navigation.
pub(super) struct Entry {
    pub(super) url: &'static str,
    pub(super) word: String,
    pub(super) is_current: bool,
}

/// What stands around every page.
pub(super) struct Shell {
    pub(super) language: Language,
    pub(super) county: String,
    /// Who signed in.
    pub(super) login: Option<String>,
    pub(super) form_token: String,
    /// Where a change of language comes back to.
    pub(super) here: String,
    pub(super) navigation: Vec<Entry>,
    /// What is wrong with the controller, for those who can do something about it.
    pub(super) warnings: Vec<Warning>,
}

impl Shell {
    /// `current` is the address of the navigation's entry that this page belongs to.
    pub(super) fn new(site: &Site, visit: &Visit, current: &'static str) -> Self {
        let login = match &visit.actor {
            Actor::User { login, .. } => Some(login.clone()),
            _ => None,
        };
        let warnings = match may(&visit.actor, Act::TroubleRead) {
            true => site.context.troubles.all(),
            false => Vec::new(),
        };
        Self {
            language: visit.language,
            county: site.context.county.name.clone(),
            login,
            form_token: visit.form_token.clone(),
            here: visit.here.clone(),
            navigation: NAVIGATION
                .into_iter()
                .filter(|(_, _, act)| may(&visit.actor, *act))
                .map(|(url, word, _)| Entry {
                    url,
                    word: visit.language.text(word),
                    is_current: url == current,
                })
                .collect(),
            warnings: warnings.iter().map(|noted| words::trouble(visit.language, noted)).collect(),
        }
    }

    pub(super) fn text(&self, key: &str) -> String {
        self.language.text(key)
    }

    pub(super) fn tag(&self) -> &'static str {
        self.language.tag()
    }

    pub(super) fn speaks(&self, language: &Language) -> bool {
        self.language == *language
    }

    pub(super) fn languages(&self) -> [Language; 2] {
        Language::ALL
    }

    pub(super) fn style_url(&self) -> &'static str {
        assets::style_url()
    }

    pub(super) fn mark_url(&self) -> &'static str {
        assets::mark_url()
    }
}
