//! What stands around every page: county, navigation, language, who signed in.

use bbt_domain::access::{Act, Actor, may};

use super::{Site, assets, language::Language, visit::Visit};

/// What stands around every page.
pub(super) struct Shell {
    pub(super) language: Language,
    pub(super) county: String,
    /// Who signed in.
    pub(super) login: Option<String>,
    pub(super) form_token: String,
    /// Where a change of language comes back to.
    pub(super) here: String,
    /// Address of the navigation's entry that this page belongs to.
    pub(super) current: &'static str,
    pub(super) may_see_refusals: bool,
}

impl Shell {
    pub(super) fn new(site: &Site, visit: &Visit, current: &'static str) -> Self {
        let login = match &visit.actor {
            Actor::User { login, .. } => Some(login.clone()),
            _ => None,
        };
        Self {
            language: visit.language,
            county: site.context.county.name.clone(),
            login,
            form_token: visit.form_token.clone(),
            here: visit.here.clone(),
            current,
            may_see_refusals: may(&visit.actor, Act::AuditRead),
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
