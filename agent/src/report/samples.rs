//! The columns of a samples frame as `report.proto` describes them: the first value absolute, each other as
//! the difference to the known one before, absent ones by their index.

use bbt_proto::report::v1::{Column, Metric, Samples};
use thiserror::Error;

/// What one metric was over the span of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The least reading.
    pub min: u64,
    /// The mean.
    pub mean: u64,
    /// The greatest reading.
    pub max: u64,
}

/// One metric of one item; `None` is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// What is measured.
    pub metric: Metric,
    /// Which disk or interface; empty where there is only one.
    pub item: String,
    /// One value per sample of the frame.
    pub values: Vec<Option<Sample>>,
}

impl Series {
    /// The values out, the name kept.
    pub(crate) fn take(&mut self) -> Self {
        Self { metric: self.metric, item: self.item.clone(), values: std::mem::take(&mut self.values) }
    }
}

/// A frame read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The end of each sample on the monotonic clock.
    pub ends_mono_micros: Vec<i64>,
    /// All columns.
    pub series: Vec<Series>,
}

/// A frame that breaks the format.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Differences lead out of the range of numbers.
    #[error("a value of {column} is out of range")]
    OutOfRange {
        /// Which list.
        column: String,
    },
    /// The lists of a column do not add up to the number of samples.
    #[error("{column} has {found} values and {missing} missing for {expected} samples")]
    WrongCount {
        /// Which list.
        column: String,
        /// Values in the list.
        found: usize,
        /// Indexes in `missing`.
        missing: usize,
        /// Samples of the frame.
        expected: usize,
    },
    /// `missing` does not rise, or points past the end.
    #[error("the missing indexes of {column} do not rise below the number of samples")]
    WrongMissing {
        /// Which list.
        column: String,
    },
}

/// The frame of samples that ended at `ends_mono_micros`. Columns without a single value are left out;
/// values past the range of the format count as its greatest.
#[must_use]
pub fn encode(ends_mono_micros: &[i64], series: &[Series]) -> Samples {
    let ends = ends_mono_micros.iter().map(|end| u64::try_from(*end).unwrap_or(0));
    let known = series.iter().filter(|series| series.values.iter().any(Option::is_some));
    Samples { mono_micros: differences(ends), columns: known.map(column).collect() }
}

fn column(series: &Series) -> Column {
    let known = || series.values.iter().flatten();
    let index = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
    let missing = series.values.iter().enumerate().filter(|(_, value)| value.is_none());
    Column {
        metric: series.metric.into(),
        item: series.item.clone(),
        min: differences(known().map(|sample| sample.min)),
        mean: differences(known().map(|sample| sample.mean)),
        max: differences(known().map(|sample| sample.max)),
        missing: missing.map(|(at, _)| index(at)).collect(),
    }
}

/// Of non-negative numbers, so that no difference leaves the range.
fn differences(values: impl Iterator<Item = u64>) -> Vec<i64> {
    let mut before = 0;
    values
        .map(|value| {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            value - std::mem::replace(&mut before, value)
        })
        .collect()
}

/// Reads a frame back.
///
/// # Errors
/// What breaks the format, with the column it is in.
pub fn decode(samples: &Samples) -> Result<Decoded, DecodeError> {
    let name = || "the times".to_owned();
    let ends = sums(&samples.mono_micros, name)?;
    let series = samples.columns.iter().map(|column| read(column, ends.len())).collect::<Result<_, _>>()?;
    // `sums` gives what fits i64 and is not negative.
    let ends_mono_micros = ends.into_iter().map(|end| i64::try_from(end).unwrap_or(i64::MAX)).collect();
    Ok(Decoded { ends_mono_micros, series })
}

fn read(column: &Column, expected: usize) -> Result<Series, DecodeError> {
    let name = || format!("{} {}", column.metric().as_str_name(), column.item).trim_end().to_owned();
    let missing = column.missing.len();
    let list = |differences: &[i64]| {
        if differences.len() + missing == expected {
            return sums(differences, name);
        }
        Err(DecodeError::WrongCount { column: name(), found: differences.len(), missing, expected })
    };
    let (min, mean, max) = (list(&column.min)?, list(&column.mean)?, list(&column.max)?);
    let rising = column.missing.windows(2).all(|pair| pair[0] < pair[1]);
    let within =
        column.missing.last().is_none_or(|last| usize::try_from(*last).is_ok_and(|last| last < expected));
    if !(rising && within) {
        return Err(DecodeError::WrongMissing { column: name() });
    }
    let mut known = min.into_iter().zip(mean).zip(max).map(|((min, mean), max)| Sample { min, mean, max });
    let mut absent = column.missing.iter().peekable();
    let values = (0..expected).map(|at| {
        let is_absent =
            absent.next_if(|index| usize::try_from(**index).is_ok_and(|index| index == at)).is_some();
        if is_absent { None } else { known.next() }
    });
    Ok(Series { metric: column.metric(), item: column.item.clone(), values: values.collect() })
}

fn sums(differences: &[i64], column: impl Fn() -> String) -> Result<Vec<u64>, DecodeError> {
    let mut value: i64 = 0;
    let mut next = |difference: &i64| {
        value = value.checked_add(*difference)?;
        u64::try_from(value).ok()
    };
    let values: Option<Vec<u64>> = differences.iter().map(&mut next).collect();
    values.ok_or_else(|| DecodeError::OutOfRange { column: column() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> impl Strategy<Value = Sample> {
        let number = || 0..=u64::try_from(i64::MAX).unwrap_or(0);
        (number(), number(), number()).prop_map(|(min, mean, max)| Sample { min, mean, max })
    }

    fn frame() -> impl Strategy<Value = (Vec<i64>, Vec<Series>)> {
        (0usize..8).prop_flat_map(|samples| {
            let values = prop::collection::vec(prop::option::of(sample()), samples);
            let metric =
                prop::sample::select(vec![Metric::ProcessorBusyPermille, Metric::DiskReadBytesPerSec]);
            let series = (metric, "[a-z]{0,5}", values).prop_map(|(metric, item, values)| Series {
                metric,
                item,
                values,
            });
            (prop::collection::vec(0..i64::MAX, samples), prop::collection::vec(series, 0..4))
        })
    }

    proptest! {
        #[test]
        fn a_frame_comes_back_as_it_was((ends, series) in frame()) {
            let decoded = decode(&encode(&ends, &series)).unwrap();
            prop_assert_eq!(decoded.ends_mono_micros, ends);
            let known: Vec<Series> =
                series.into_iter().filter(|one| one.values.iter().any(Option::is_some)).collect();
            prop_assert_eq!(decoded.series, known);
        }

        #[test]
        fn any_frame_is_read_without_a_panic(
            mono_micros: Vec<i64>, min: Vec<i64>, mean: Vec<i64>, max: Vec<i64>, missing: Vec<u32>,
        ) {
            let column = Column { metric: 1, item: String::new(), min, mean, max, missing };
            let _ = decode(&Samples { mono_micros, columns: vec![column] });
        }
    }

    #[test]
    fn the_bytes_are_those_the_contract_describes() {
        let one = |value| Some(Sample { min: value, mean: value + 1, max: value + 2 });
        let values = vec![one(100), None, one(90)];
        let series = Series { metric: Metric::MemoryUsedKib, item: String::new(), values };
        let frame = encode(&[1_000, 1_060, 1_120], &[series]);
        assert_eq!(frame.mono_micros, [1_000, 60, 60]);
        assert_eq!(frame.columns[0].min, [100, -10]);
        assert_eq!(frame.columns[0].mean, [101, -10]);
        assert_eq!(frame.columns[0].missing, [1]);
    }

    #[test]
    fn a_column_that_does_not_add_up_is_refused() {
        let column = |missing: Vec<u32>| Column {
            metric: 1,
            min: vec![1],
            mean: vec![1],
            max: vec![1],
            missing,
            ..Column::default()
        };
        let read = |missing| decode(&Samples { mono_micros: vec![5, 5], columns: vec![column(missing)] });
        assert!(matches!(read(vec![]), Err(DecodeError::WrongCount { .. })));
        assert!(matches!(read(vec![2]), Err(DecodeError::WrongMissing { .. })));
        assert!(read(vec![0]).is_ok());
    }
}
