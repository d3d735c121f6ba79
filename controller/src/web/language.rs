//! Words: Simplified Chinese first, English second, both from message files.

use std::sync::LazyLock;

use fluent_bundle::{FluentArgs, FluentResource, FluentValue, concurrent::FluentBundle};
use http::{HeaderMap, header};
use unic_langid::LanguageIdentifier;

use super::session::Cookie;

/// A language that the console speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Language {
    /// Simplified Chinese.
    Chinese,
    /// English.
    English,
}

const CHINESE: &[&str] = &[
    include_str!("../../locales/zh-CN/shell.ftl"),
    include_str!("../../locales/zh-CN/admissions.ftl"),
    include_str!("../../locales/zh-CN/devices.ftl"),
    include_str!("../../locales/zh-CN/reasons.ftl"),
    include_str!("../../locales/zh-CN/faults.ftl"),
    include_str!("../../locales/zh-CN/sets.ftl"),
    include_str!("../../locales/zh-CN/troubles.ftl"),
];
const ENGLISH: &[&str] = &[
    include_str!("../../locales/en/shell.ftl"),
    include_str!("../../locales/en/admissions.ftl"),
    include_str!("../../locales/en/devices.ftl"),
    include_str!("../../locales/en/reasons.ftl"),
    include_str!("../../locales/en/faults.ftl"),
    include_str!("../../locales/en/sets.ftl"),
    include_str!("../../locales/en/troubles.ftl"),
];

impl Language {
    /// All of them, the default first.
    pub(crate) const ALL: [Self; 2] = [Self::Chinese, Self::English];

    /// As in HTML, in cookies and in the account.
    pub(crate) const fn tag(self) -> &'static str {
        match self {
            Self::Chinese => "zh-CN",
            Self::English => "en",
        }
    }

    /// What it calls itself.
    pub(crate) const fn own_name(self) -> &'static str {
        match self {
            Self::Chinese => "中文",
            Self::English => "English",
        }
    }

    /// The language that [`Language::tag`] names.
    pub(crate) fn parse(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.tag() == tag)
    }

    /// The cookie decides, then the account, then the browser's wishes in their order, then Chinese.
    pub(super) fn choose(headers: &HeaderMap, account: &str) -> Self {
        let cookie = Cookie::Language.find(headers).and_then(Self::parse);
        let wishes = || headers.get(header::ACCEPT_LANGUAGE)?.to_str().ok().and_then(wished);
        cookie.or_else(|| Self::parse(account)).or_else(wishes).unwrap_or(Self::Chinese)
    }

    /// The message `key`.
    pub(crate) fn text(self, key: &str) -> String {
        self.with(key, &[])
    }

    /// The message `key` with its variables filled in.
    pub(crate) fn with(self, key: &str, variables: &[(&str, FluentValue<'_>)]) -> String {
        self.find(key, variables).unwrap_or_else(|| {
            if cfg!(test) {
                panic!("no message {key} in {}", self.tag());
            }
            key.to_owned()
        })
    }

    /// The message `key`, if there is one: for keys made of words that come from elsewhere.
    pub(crate) fn find(self, key: &str, variables: &[(&str, FluentValue<'_>)]) -> Option<String> {
        let pattern = self.bundle().get_message(key)?.value()?;
        let mut arguments = FluentArgs::with_capacity(variables.len());
        for (name, value) in variables {
            arguments.set(*name, value.clone());
        }
        let mut errors = Vec::new();
        let text = self.bundle().format_pattern(pattern, Some(&arguments), &mut errors).into_owned();
        if cfg!(test) && !errors.is_empty() {
            panic!("message {key} in {}: {errors:?}", self.tag());
        }
        Some(text)
    }

    fn bundle(self) -> &'static FluentBundle<FluentResource> {
        static CHINESE_BUNDLE: LazyLock<FluentBundle<FluentResource>> =
            LazyLock::new(|| bundle(Language::Chinese, CHINESE));
        static ENGLISH_BUNDLE: LazyLock<FluentBundle<FluentResource>> =
            LazyLock::new(|| bundle(Language::English, ENGLISH));
        match self {
            Self::Chinese => &CHINESE_BUNDLE,
            Self::English => &ENGLISH_BUNDLE,
        }
    }
}

fn bundle(language: Language, sources: &[&str]) -> FluentBundle<FluentResource> {
    let locale: LanguageIdentifier = language.tag().parse().unwrap_or_default();
    let mut bundle = FluentBundle::new_concurrent(vec![locale]);
    // Marks around variables would be copied along with a serial number.
    bundle.set_use_isolating(false);
    for source in sources {
        // What can be read of a damaged file is better than nothing; a test sees to it that nothing is damaged.
        let resource = FluentResource::try_new((*source).to_owned()).unwrap_or_else(|(readable, _)| readable);
        bundle.add_resource_overriding(resource);
    }
    bundle
}

/// The first language of an `Accept-Language` that the console speaks, by weight.
fn wished(header: &str) -> Option<Language> {
    let mut wishes: Vec<(f32, Language)> = header
        .split(',')
        .filter_map(|part| {
            let (tag, weight) = part.split_once(";q=").unwrap_or((part, "1"));
            let primary = tag.trim().split('-').next()?.to_ascii_lowercase();
            let language = match primary.as_str() {
                "zh" => Language::Chinese,
                "en" => Language::English,
                _ => return None,
            };
            Some((weight.trim().parse().unwrap_or(0.0), language))
        })
        .collect();
    wishes.sort_by(|one, other| other.0.total_cmp(&one.0));
    wishes.first().map(|(_, language)| *language)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn both_languages_have_the_same_messages_with_the_same_variables() {
        let (chinese, english) = (messages(CHINESE), messages(ENGLISH));
        assert!(chinese.len() > 100, "{} messages", chinese.len());
        for (key, variables) in &chinese {
            assert_eq!(english.get(key), Some(variables), "{key} in English");
        }
        for key in english.keys() {
            assert!(chinese.contains_key(key), "{key} in Chinese");
        }
    }

    #[test]
    fn message_files_are_read_whole() {
        for source in CHINESE.iter().chain(ENGLISH) {
            if let Err((_, errors)) = FluentResource::try_new((*source).to_owned()) {
                panic!("{errors:?} in {source}");
            }
        }
    }

    #[test]
    fn the_browsers_first_wish_counts() {
        assert_eq!(wished("de, en;q=0.7, zh-TW;q=0.9"), Some(Language::Chinese));
        assert_eq!(wished("en-GB,en;q=0.9"), Some(Language::English));
        assert_eq!(wished("de, *"), None);
    }

    #[test]
    fn cookie_before_account_before_browser() {
        let mut headers = HeaderMap::new();
        assert_eq!(Language::choose(&headers, ""), Language::Chinese);
        headers.insert(header::ACCEPT_LANGUAGE, "en".parse().unwrap());
        assert_eq!(Language::choose(&headers, ""), Language::English);
        assert_eq!(Language::choose(&headers, "zh-CN"), Language::Chinese);
        headers.insert(header::COOKIE, "a=b; __Host-bbt-language=en".parse().unwrap());
        assert_eq!(Language::choose(&headers, "zh-CN"), Language::English);
    }

    /// Each key with the variables of its message; panics at a key written twice.
    fn messages(sources: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut key = String::new();
        for line in sources.iter().flat_map(|source| source.lines()) {
            if line.starts_with(|first: char| first.is_ascii_lowercase()) {
                key = line.split_once('=').expect("a key and its message").0.trim().to_owned();
                assert!(found.insert(key.clone(), BTreeSet::new()).is_none(), "{key} is there twice");
            }
            for variable in line.split('$').skip(1) {
                let name = variable.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
                found.entry(key.clone()).or_default().insert(name.to_owned());
            }
        }
        found
    }
}
