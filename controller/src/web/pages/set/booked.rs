//! 账面与实测: what is booked for the set beside what its computers tell, and the differences that wait for a word.

use bbt_domain::{
    ids::CaseId,
    reconciliation::{Comparison, Item, Measure, Outcome, Settlement, Why},
};
use bbt_store::reconciliation::{BookedAsset, Case, SetBooked};

use super::{hyphened, shown};
use crate::web::{
    field::Field,
    format::{self, Moment},
    language::Language,
    pages::device::why as problem_words,
    words,
};

/// The section.
pub(super) struct Booked {
    pub(super) assets: Vec<AssetCard>,
    /// Why a form was not taken whose difference is not open any more.
    pub(super) overtaken: Option<String>,
    /// Differences that nobody has explained.
    pub(super) open: Vec<OpenCase>,
    pub(super) past: Vec<String>,
    pub(super) past_title: String,
    pub(super) settlements: Vec<(&'static str, String)>,
}

/// An asset, item by item.
pub(super) struct AssetCard {
    pub(super) no: String,
    pub(super) name: String,
    pub(super) cost: String,
    pub(super) booked_on: String,
    pub(super) rows: Vec<Row>,
}

/// Booked beside observed.
pub(super) struct Row {
    pub(super) item: String,
    pub(super) booked: Option<String>,
    pub(super) observed: Option<String>,
    pub(super) tone: &'static str,
    pub(super) shape: &'static str,
    pub(super) outcome: String,
}

/// A difference with the form that settles it.
pub(super) struct OpenCase {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) values: String,
    pub(super) asset_no: String,
    pub(super) since: Moment,
    /// What was typed, and what is wrong with it.
    pub(super) form: [Field; 2],
}

/// The form of one case after it was not taken.
pub(super) struct Typed {
    pub(super) case: CaseId,
    pub(super) form: [Field; 2],
}

/// An empty form: what it is, and a note.
pub(super) fn form(language: Language) -> [Field; 2] {
    [Field::new(language, "settlement", "settlement"), Field::new(language, "note", "note")]
}

/// The section of `booked`.
pub(super) fn section(language: Language, booked: &SetBooked, typed: Option<&Typed>) -> Booked {
    let (open, past): (Vec<&Case>, Vec<&Case>) =
        booked.cases.iter().partition(|case| case.settled.is_none() && case.gone_at.is_none());
    let overtaken = typed.filter(|typed| open.iter().all(|case| case.id != typed.case));
    let past_count = format::count(i64::try_from(past.len()).unwrap_or(i64::MAX));
    Booked {
        assets: booked.assets.iter().map(|asset| asset_card(language, asset)).collect(),
        overtaken: overtaken.and_then(|typed| typed.form.iter().find_map(|field| field.error.clone())),
        open: open.into_iter().map(|case| open_case(language, case, typed)).collect(),
        past: past.into_iter().map(|case| past_case(language, case)).collect(),
        past_title: language.with("case-past", &[("count", past_count.into())]),
        settlements: Settlement::ALL.map(|what| (what.as_str(), settlement(language, what))).into(),
    }
}

fn asset_card(language: Language, booked: &BookedAsset) -> AssetCard {
    let card = &booked.asset.card;
    AssetCard {
        no: card.asset_no.to_string(),
        name: shown(&card.name),
        cost: language.with("booked-yuan", &[("amount", card.cost_fen.to_string().into())]),
        booked_on: format::day(language, card.booked_on.start()),
        rows: booked.comparisons.iter().map(|comparison| row(language, comparison)).collect(),
    }
}

fn row(language: Language, comparison: &Comparison) -> Row {
    let (tone, shape, outcome) = match &comparison.outcome {
        Outcome::Same => ("ok", "●", language.text("outcome-same")),
        Outcome::Different => ("bad", "▲", language.text("outcome-different")),
        Outcome::Unknown(why) => {
            let why = why_words(language, why);
            ("unknown", "？", language.with("outcome-unknown", &[("why", why.into())]))
        }
    };
    let value = |measure: &Option<Measure>| measure.as_ref().map(|measure| value(comparison.item, measure));
    Row {
        item: language.text(&format!("item-{}", comparison.item.as_str())),
        booked: value(&comparison.booked),
        observed: value(&comparison.observed),
        tone,
        shape,
        outcome,
    }
}

/// Memory counts by 1,024, disks as their labels do.
fn value(item: Item, measure: &Measure) -> String {
    match (item, measure) {
        (_, Measure::Text(text)) => shown(text),
        (Item::Disk, Measure::SizeBytes(bytes)) => format::decimal_bytes(*bytes),
        (_, Measure::SizeBytes(bytes)) => format::binary_bytes(*bytes),
    }
}

fn why_words(language: Language, why: &Why) -> String {
    let key = match why {
        Why::NotBooked => "why-not-booked",
        Why::Vague => "why-vague",
        Why::NoDevice => "why-no-device",
        Why::NotTold => "why-not-told",
        Why::Unset => "why-unset",
        Why::Problem(code) => return problem_words(language, code),
    };
    language.text(key)
}

fn values(language: Language, case: &Case) -> String {
    let [booked, observed] = [&case.booked, &case.observed].map(|measure| value(case.item, measure));
    language.with("case-values", &[("booked", booked.into()), ("observed", observed.into())])
}

fn item_word(language: Language, case: &Case) -> String {
    language.text(&format!("item-{}", case.item.as_str()))
}

fn open_case(language: Language, case: &Case, typed: Option<&Typed>) -> OpenCase {
    let typed = typed.filter(|typed| typed.case == case.id).map(|typed| typed.form.clone());
    OpenCase {
        id: case.id.to_string(),
        title: language.with("case-open", &[("item", item_word(language, case).into())]),
        values: values(language, case),
        asset_no: case.asset_no.clone().unwrap_or_default(),
        since: Moment::new(language, case.opened_at),
        form: typed.unwrap_or_else(|| form(language)),
    }
}

/// What was different, and what became of it, in one line.
fn past_case(language: Language, case: &Case) -> String {
    let moment = |at| Moment::new(language, at).text;
    let settled = case.settled.as_ref().map(|settled| {
        let mut what = settlement(language, settled.what);
        if !settled.note.is_empty() {
            what = format!("{what} · {}", shown(&settled.note));
        }
        let who = words::actor(language, &settled.by);
        let parts = [("time", moment(settled.at).into()), ("who", who.into()), ("what", what.into())];
        language.with("case-settled", &parts)
    });
    let gone = case.gone_at.map(|at| language.with("case-gone", &[("time", moment(at).into())]));
    let ends: Vec<String> = settled.into_iter().chain(gone).collect();
    format!("{} · {} · {}", item_word(language, case), values(language, case), ends.join(" · "))
}

fn settlement(language: Language, what: Settlement) -> String {
    language.text(&format!("settlement-{}", hyphened(what.as_str())))
}
