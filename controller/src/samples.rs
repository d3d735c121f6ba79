//! A frame of samples decoded: columns of differences become numbers with their times.
//!
//! The bytes come from a device. A frame that contradicts itself is an error, never a panic and never a guess.

use bbt_proto::report::v1 as wire;
use bytes::Bytes;
use prost::Message;

/// Samples of one frame at most: an hour of the quickest sampling, every 5 s; a frame of five minutes has far fewer.
const SAMPLES_PER_FRAME: usize = 720;
/// Bytes of a packed number that need no closer look; a tenth one may go beyond 64 bits.
const LONGEST_NUMBER: usize = 9;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Samples {
    /// End of each sample on the device's monotonic clock, microseconds.
    pub mono_micros: Vec<i64>,
    /// One per metric and item.
    pub series: Vec<Series>,
}

/// One metric of one item over the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// What is measured.
    pub metric: wire::Metric,
    /// Which disk or interface; empty where there is only one.
    pub item: String,
    /// One per sample; `None` where nothing was measured.
    pub points: Vec<Option<Point>>,
}

/// One sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Lowest.
    pub min: i64,
    /// Mean.
    pub mean: i64,
    /// Highest.
    pub max: i64,
}

/// A frame that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SamplesError {
    /// The bytes are no `bbt.report.v1.Samples`.
    #[error("the bytes are no samples: {0}")]
    Bytes(#[from] prost::DecodeError),
    /// No sample, or more than a frame may have.
    #[error("the frame has {0} samples, from 1 to {SAMPLES_PER_FRAME} are taken")]
    Count(usize),
    /// A column whose lists do not fit the frame.
    #[error("column {column} has {values} values and {missing} missing ones for {samples} samples")]
    Lengths {
        /// Its place in the frame.
        column: usize,
        /// Values in its shortest list.
        values: usize,
        /// Samples it calls missing.
        missing: usize,
        /// Samples in the frame.
        samples: usize,
    },
    /// The missing samples of a column are out of order or out of the frame.
    #[error("column {0} names missing samples that the frame does not have in that order")]
    Missing(usize),
}

/// Whether the body of a report of kind samples can be read, as it is asked before it is kept.
pub fn check(body: &Bytes) -> Result<(), SamplesError> {
    if Packed::decode(body.clone()).is_ok_and(|packed| packed.is_whole()) {
        return Ok(());
    }
    // Not readable, or written in one of the rarer ways: the full answer.
    frame_of(body).map(drop)
}

/// Decodes the body of a report of kind samples. Metrics of a newer protocol are left out.
pub fn decode(body: &[u8]) -> Result<Samples, SamplesError> {
    let frame = frame_of(body)?;
    let samples = frame.mono_micros.len();
    let mut series = Vec::with_capacity(frame.columns.len());
    for column in frame.columns {
        let points = points(samples, &column);
        match column.metric() {
            wire::Metric::Unspecified => {}
            metric => series.push(Series { metric, item: column.item, points }),
        }
    }
    Ok(Samples { mono_micros: summed(&frame.mono_micros), series })
}

/// A frame whose every column has one value or one hole for each sample.
fn frame_of(body: &[u8]) -> Result<wire::Samples, SamplesError> {
    let frame = wire::Samples::decode(body)?;
    let samples = frame.mono_micros.len();
    if samples == 0 || samples > SAMPLES_PER_FRAME {
        return Err(SamplesError::Count(samples));
    }
    for (number, column) in frame.columns.iter().enumerate() {
        let lists = [&column.min, &column.mean, &column.max];
        let values = lists.iter().map(|list| list.len()).min().unwrap_or(0);
        let missing = column.missing.len();
        if lists.iter().any(|list| list.len() != values) || values + missing != samples {
            return Err(SamplesError::Lengths { column: number, values, missing, samples });
        }
        let in_order = column.missing.is_sorted_by(|one, next| one < next);
        if !in_order || column.missing.last().is_some_and(|&last| last as usize >= samples) {
            return Err(SamplesError::Missing(number));
        }
    }
    Ok(frame)
}

/// [`wire::Samples`] with its lists left as they are packed. Agents pack them, and counting numbers that nobody asks
/// for takes a tenth of the time and none of the memory of decoding them.
#[derive(Clone, PartialEq, Message)]
struct Packed {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    mono_micros: Vec<Bytes>,
    #[prost(message, repeated, tag = "2")]
    columns: Vec<PackedColumn>,
}

#[derive(Clone, PartialEq, Message)]
struct PackedColumn {
    #[prost(int32, tag = "1")]
    metric: i32,
    #[prost(string, tag = "2")]
    item: String,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    min: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "4")]
    mean: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "5")]
    max: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "6")]
    missing: Vec<Bytes>,
}

impl Packed {
    /// Whether every column has a value for each sample. One with holes may be good too.
    fn is_whole(&self) -> bool {
        let samples = count(&self.mono_micros);
        samples.is_some_and(|samples| (1..=SAMPLES_PER_FRAME).contains(&samples))
            && self.columns.iter().all(|column| {
                let lists = [&column.min, &column.mean, &column.max];
                column.missing.is_empty() && lists.iter().all(|list| count(list) == samples)
            })
    }
}

/// How many numbers are packed in a list; `None` if there is one that [`frame_of`] might not take.
fn count(list: &[Bytes]) -> Option<usize> {
    let mut numbers = 0;
    for chunk in list {
        let mut length = 0;
        for byte in chunk {
            length += 1;
            if byte & 0x80 == 0 {
                numbers += 1;
                length = 0;
            } else if length == LONGEST_NUMBER {
                return None;
            }
        }
        if length != 0 {
            return None;
        }
    }
    Some(numbers)
}

/// The points of a column that was found whole.
fn points(samples: usize, column: &wire::Column) -> Vec<Option<Point>> {
    let [min, mean, max] = [&column.min, &column.mean, &column.max].map(|list| summed(list));
    let mut known = min.into_iter().zip(mean).zip(max).map(|((min, mean), max)| Point { min, mean, max });
    let mut missing = column.missing.iter().map(|&index| index as usize).peekable();
    (0..samples).map(|index| if missing.next_if_eq(&index).is_some() { None } else { known.next() }).collect()
}

/// From the first value and differences to values. Sums wrap: a hostile frame shows nonsense, it stops nothing.
fn summed(differences: &[i64]) -> Vec<i64> {
    let mut sum = 0_i64;
    differences
        .iter()
        .map(|difference| {
            sum = sum.wrapping_add(*difference);
            sum
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: Vec<i64>, missing: Vec<u32>) -> wire::Column {
        wire::Column {
            metric: wire::Metric::MemoryUsedKib.into(),
            item: String::new(),
            min: values.clone(),
            mean: values.clone(),
            max: values,
            missing,
        }
    }

    fn frame(columns: Vec<wire::Column>) -> Vec<u8> {
        wire::Samples { mono_micros: vec![60, 60, 60], columns }.encode_to_vec()
    }

    #[test]
    fn differences_become_values_with_holes_where_nothing_was_measured() {
        let samples = decode(&frame(vec![column(vec![100, -30], vec![1])])).unwrap();
        assert_eq!(samples.mono_micros, [60, 120, 180]);
        let means: Vec<_> = samples.series[0].points.iter().map(|p| p.map(|p| p.mean)).collect();
        assert_eq!(means, [Some(100), None, Some(70)]);
    }

    #[test]
    fn a_metric_of_a_newer_protocol_is_left_out() {
        let newer = wire::Column { metric: 9_999, ..column(vec![1, 1, 1], vec![]) };
        let samples = decode(&frame(vec![newer, column(vec![1, 1, 1], vec![])])).unwrap();
        assert_eq!(samples.series.len(), 1);
    }

    #[test]
    fn a_frame_that_contradicts_itself_is_refused() {
        let lengths = decode(&frame(vec![column(vec![1, 2], vec![])]));
        assert!(matches!(
            lengths,
            Err(SamplesError::Lengths { column: 0, values: 2, missing: 0, samples: 3 })
        ));
        for missing in [vec![3], vec![1, 1], vec![2, 0]] {
            let values = vec![1; 3 - missing.len()];
            assert_eq!(decode(&frame(vec![column(values, missing)])), Err(SamplesError::Missing(0)));
        }
        let long = wire::Samples { mono_micros: vec![1; SAMPLES_PER_FRAME + 1], columns: vec![] };
        assert_eq!(decode(&long.encode_to_vec()), Err(SamplesError::Count(SAMPLES_PER_FRAME + 1)));
    }

    #[test]
    fn lists_that_are_not_packed_are_read_too() {
        // One sample, its time and its values each as a field of its own.
        let body = Bytes::from_static(&[0x08, 120, 0x12, 8, 0x08, 2, 0x18, 4, 0x20, 4, 0x28, 4]);
        assert_eq!(check(&body), Ok(()));
        assert_eq!(decode(&body).unwrap().series[0].points, [Some(Point { min: 2, mean: 2, max: 2 })]);
    }

    proptest::proptest! {
        /// Of any body, and of one that is nearly good, which has one byte changed.
        #[test]
        fn what_is_checked_is_what_can_be_read(
            noise in proptest::collection::vec(0_u8.., 0..200),
            values in proptest::collection::vec(proptest::prelude::any::<i64>(), 2..4),
            missing in proptest::collection::vec(0_u32..4, 0..2),
            at: usize,
            byte: u8,
        ) {
            let good = frame(vec![column(values.clone(), missing), column(values, vec![])]);
            let mut changed = good.clone();
            let at = at % changed.len();
            changed[at] = byte;
            for body in [noise, good, changed] {
                let body = Bytes::from(body);
                proptest::prop_assert_eq!(check(&body).is_ok(), decode(&body).is_ok());
            }
        }

        #[test]
        fn hostile_bytes_never_panic(body in proptest::collection::vec(0_u8.., 0..200)) {
            let _ = decode(&body);
        }

        #[test]
        fn hostile_numbers_never_panic(values in proptest::collection::vec(proptest::prelude::any::<i64>(), 3)) {
            proptest::prop_assert!(decode(&frame(vec![column(values, vec![])])).is_ok());
        }
    }
}
