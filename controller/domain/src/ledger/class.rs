//! Class codes of fixed assets (资产分类代码, GB/T 14885), each with the edition it is of.
//!
//! The same string means different things in different editions: A02010104 is a desktop computer in 2013 and a
//! server in 2022. So a code is always `CODE@EDITION`, and is never mapped from one edition to another.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::text;

/// Which list a code is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Edition {
    /// GB/T 14885-2010: seven digits.
    #[serde(rename = "2010")]
    Y2010,
    /// The procurement catalogue 财库〔2013〕189号, which writes the tree of 2010 as `A` and up to ten digits.
    #[serde(rename = "2013")]
    Y2013,
    /// GB/T 14885-2022: `A` and eight digits.
    #[serde(rename = "2022")]
    Y2022,
}

impl Edition {
    const ALL: [Self; 3] = [Self::Y2010, Self::Y2013, Self::Y2022];

    /// The word stored, typed and shown in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Y2010 => "2010",
            Self::Y2013 => "2013",
            Self::Y2022 => "2022",
        }
    }

    /// How its codes look, for people.
    const fn form(self) -> &'static str {
        match self {
            Self::Y2010 => "seven digits, the first 1 to 6, such as 2020200",
            Self::Y2013 => "A and two to ten digits, two per level, such as A02010104",
            Self::Y2022 => "A and eight digits, such as A02010105",
        }
    }

    /// Whether `code` can be of this edition.
    fn fits(self, code: &str) -> bool {
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        match self {
            // The standard of 2010 has six doors.
            Self::Y2010 => code.len() == 7 && digits(code) && (b'1'..=b'6').contains(&code.as_bytes()[0]),
            Self::Y2013 => code.strip_prefix('A').is_some_and(|rest| {
                (2..=10).contains(&rest.len()) && rest.len().is_multiple_of(2) && digits(rest)
            }),
            Self::Y2022 => code.strip_prefix('A').is_some_and(|rest| rest.len() == 8 && digits(rest)),
        }
    }
}

/// A class code with its edition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClassCode {
    #[serde(rename = "class_code")]
    code: String,
    #[serde(rename = "class_edition")]
    edition: Edition,
}

/// A text that is no class code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClassError {
    /// No edition, or one that does not exist.
    #[error(
        "class {0:?} is not valid: write CODE@EDITION with the edition 2010, 2013 or 2022, such as A02010105@2022"
    )]
    Edition(String),
    /// A code that the edition cannot have.
    #[error("class {found:?} is not valid: a code of edition {} has {}", .edition.as_str(), .edition.form())]
    Code {
        /// As typed.
        found: String,
        /// The edition named.
        edition: Edition,
    },
}

impl ClassCode {
    /// The code.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The list it is of.
    pub const fn edition(&self) -> Edition {
        self.edition
    }

    /// What is known of it; `None` for a code that is not in the table.
    pub fn known(&self) -> Option<&'static KnownClass> {
        KNOWN.iter().find(|known| known.edition == self.edition && known.code == self.code)
    }
}

impl FromStr for ClassCode {
    type Err = ClassError;

    /// `CODE@EDITION`; full-width signs and a small `a` are taken as what they stand for.
    fn from_str(text: &str) -> Result<Self, ClassError> {
        let plain = text::half_width(text.trim()).to_ascii_uppercase();
        let parts = plain.split_once('@').and_then(|(code, edition)| {
            let edition = Edition::ALL.into_iter().find(|known| known.as_str() == edition)?;
            Some((code, edition))
        });
        let (code, edition) = parts.ok_or_else(|| ClassError::Edition(text.to_owned()))?;
        if !edition.fits(code) {
            return Err(ClassError::Code { found: text.to_owned(), edition });
        }
        Ok(Self { code: code.to_owned(), edition })
    }
}

impl fmt::Display for ClassCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.code, self.edition.as_str())
    }
}

/// A row of the depreciation table (财会〔2017〕4号, and for furniture the usual practice).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DepreciationRow {
    /// 计算机设备.
    Computer,
    /// 办公设备.
    Office,
    /// 广播电视电影设备.
    Broadcast,
    /// 通信设备.
    Communication,
    /// 电气设备.
    Electrical,
    /// 家具.
    Furniture,
}

impl DepreciationRow {
    /// The least months that a unit may take; a county may set more, never fewer.
    pub const fn minimum_months(self) -> u32 {
        match self {
            Self::Computer | Self::Office => 72,
            Self::Broadcast | Self::Communication | Self::Electrical => 60,
            Self::Furniture => 180,
        }
    }
}

/// What is known of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownClass {
    /// The list.
    pub edition: Edition,
    /// The code in that list.
    pub code: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// Its row of the depreciation table.
    pub depreciation: DepreciationRow,
    /// Found in the published list; the others are from practice and to be checked before they are relied on.
    pub verified: bool,
    /// A computer: what its card says can be held against what the agent in it sees.
    pub computer: bool,
}

/// A machine that an agent can run in.
const COMPUTER: bool = true;
/// Anything else.
const OTHER: bool = false;
/// Found in a published list.
const FOUND: bool = true;
/// From practice.
const PRACTICE: bool = false;

const fn class(
    edition: Edition,
    code: &'static str,
    name: &'static str,
    depreciation: DepreciationRow,
    verified: bool,
    computer: bool,
) -> KnownClass {
    KnownClass { edition, code, name, depreciation, verified, computer }
}

/// The classes that the things of a classroom are booked under (domain.md 2.3).
const KNOWN: &[KnownClass] = {
    use DepreciationRow::{Broadcast, Communication, Computer, Electrical, Furniture, Office};
    use Edition::{Y2010, Y2013, Y2022};
    &[
        class(Y2010, "2010103", "服务器", Computer, PRACTICE, COMPUTER),
        class(Y2010, "2010104", "台式计算机", Computer, PRACTICE, COMPUTER),
        class(Y2010, "2010105", "便携式计算机", Computer, PRACTICE, COMPUTER),
        class(Y2010, "2010107", "平板式计算机", Computer, PRACTICE, COMPUTER),
        class(Y2010, "2020200", "投影仪", Office, FOUND, OTHER),
        class(Y2013, "A02010103", "服务器", Computer, FOUND, COMPUTER),
        class(Y2013, "A02010104", "台式计算机", Computer, FOUND, COMPUTER),
        class(Y2013, "A02010105", "便携式计算机", Computer, FOUND, COMPUTER),
        class(Y2013, "A02010107", "平板式计算机", Computer, FOUND, COMPUTER),
        class(Y2013, "A02010201", "路由器", Computer, FOUND, OTHER),
        class(Y2013, "A0201020201", "交换机", Computer, FOUND, OTHER),
        class(Y2013, "A0201060401", "液晶显示器", Computer, FOUND, OTHER),
        class(Y2013, "A0201060901", "扫描仪", Office, FOUND, OTHER),
        class(Y2013, "A020202", "投影仪", Office, FOUND, OTHER),
        class(Y2013, "A020203", "投影幕", Office, FOUND, OTHER),
        class(Y2013, "A020206", "电子白板", Office, PRACTICE, OTHER),
        class(Y2013, "A020208", "触控一体机", Office, PRACTICE, OTHER),
        class(Y2013, "A02061504", "不间断电源(UPS)", Electrical, FOUND, OTHER),
        class(Y2013, "A02091001", "普通电视设备(电视机)", Broadcast, FOUND, OTHER),
        class(Y2013, "A02091102", "通用摄像机", Broadcast, FOUND, OTHER),
        class(Y2013, "A02091104", "平板显示设备", Broadcast, PRACTICE, OTHER),
        class(Y2013, "A02091107", "视频监控设备", Broadcast, PRACTICE, OTHER),
        class(Y2013, "A02091203", "功放设备", Broadcast, PRACTICE, OTHER),
        class(Y2013, "A02091206", "话筒设备", Broadcast, PRACTICE, OTHER),
        class(Y2013, "A02091211", "音箱", Broadcast, PRACTICE, OTHER),
        class(Y2022, "A02010104", "服务器", Computer, FOUND, COMPUTER),
        class(Y2022, "A02010105", "台式计算机", Computer, FOUND, COMPUTER),
        class(Y2022, "A02010108", "便携式计算机", Computer, FOUND, COMPUTER),
        class(Y2022, "A02010200", "网络设备", Computer, FOUND, OTHER),
        class(Y2022, "A02010202", "交换设备", Computer, PRACTICE, OTHER),
        class(Y2022, "A02020200", "投影仪", Office, FOUND, OTHER),
        class(Y2022, "A02020300", "投影幕", Office, PRACTICE, OTHER),
        class(Y2022, "A02020700", "电子白板", Office, FOUND, OTHER),
        class(Y2022, "A02020800", "触控一体机", Office, PRACTICE, OTHER),
        class(Y2022, "A02021000", "打印机", Office, FOUND, OTHER),
        class(Y2022, "A02021104", "液晶显示器", Computer, PRACTICE, OTHER),
        class(Y2022, "A02021118", "扫描仪", Office, FOUND, OTHER),
        class(Y2022, "A02061504", "不间断电源", Electrical, PRACTICE, OTHER),
        class(Y2022, "A02080805", "视频会议系统设备(含录播服务器、中控系统)", Communication, FOUND, OTHER),
        class(Y2022, "A02091001", "普通电视设备(电视机)", Broadcast, FOUND, OTHER),
        class(Y2022, "A02091102", "通用摄像机", Broadcast, PRACTICE, OTHER),
        class(Y2022, "A02091104", "平板显示设备", Broadcast, FOUND, OTHER),
        class(Y2022, "A02091107", "视频监控设备", Broadcast, FOUND, OTHER),
        class(Y2022, "A05010203", "教学、实验用桌", Furniture, FOUND, OTHER),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Option<&'static str> {
        text.parse::<ClassCode>().unwrap().known().map(|known| known.name)
    }

    #[test]
    fn the_same_code_means_different_things_in_different_editions() {
        assert_eq!(name("A02010104@2013"), Some("台式计算机"));
        assert_eq!(name("A02010104@2022"), Some("服务器"));
    }

    #[test]
    fn a_well_formed_code_that_is_not_in_the_table_is_taken_and_unknown() {
        let class: ClassCode = " ａ09999999@2022".parse().unwrap();
        assert_eq!((class.to_string().as_str(), class.known()), ("A09999999@2022", None));
    }

    #[test]
    fn length_and_prefix_are_those_of_the_edition() {
        for good in ["2020200@2010", "A02@2013", "A0201020201@2013", "A02020200@2022"] {
            assert_eq!(good.parse::<ClassCode>().unwrap().to_string(), good);
        }
        for bad in [
            "A2020200@2010",
            "7020200@2010",
            "202020@2010",
            "A0201010@2013",
            "A@2013",
            "A020102020101@2013",
            "B02010104@2013",
            "A0202020@2022",
            "A020202000@2022",
            "02020200@2022",
            "A0202020X@2022",
        ] {
            let error = bad.parse::<ClassCode>().unwrap_err();
            assert!(matches!(error, ClassError::Code { .. }) && error.to_string().contains(bad), "{error}");
        }
        for bad in ["A02020200", "A02020200@", "A02020200@2023", "@"] {
            let error = bad.parse::<ClassCode>().unwrap_err();
            assert!(matches!(error, ClassError::Edition(_)) && error.to_string().contains("2013"), "{error}");
        }
    }

    #[test]
    fn every_row_of_the_table_is_a_code_of_its_edition_and_stands_once() {
        for (at, known) in KNOWN.iter().enumerate() {
            assert!(known.edition.fits(known.code), "{known:?}");
            let twice = KNOWN[..at].iter().any(|k| (k.edition, k.code) == (known.edition, known.code));
            assert!(!twice, "{known:?}");
        }
    }

    #[test]
    fn years_are_those_of_the_guideline() {
        let months =
            |text: &str| text.parse::<ClassCode>().unwrap().known().unwrap().depreciation.minimum_months();
        assert_eq!(months("A02020200@2022"), 72);
        assert_eq!(months("A02091104@2022"), 60);
        assert_eq!(months("A05010203@2022"), 180);
    }
}
