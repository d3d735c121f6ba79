//! Bodies of reports as a classroom PC in use makes them: twelve values a sample, four metrics with their least,
//! mean and greatest reading, in the agent's own encoding.

use bbt_agent::report::samples::{Sample, Series, encode};
use bbt_proto::report::v1::Metric;
use bbt_tests::chance::Chance;
use prost::{Message, bytes::Bytes};

/// Different bodies, sent in turn: enough that neither side can know them by heart.
const BODIES: usize = 64;
/// Any.
const SEED: u64 = 7;
/// Between two samples while somebody looks, and in the load that design and peers are measured with.
const SAMPLE_MICROS: i64 = 5_000_000;

/// What a metric starts from, how far it moves from one sample to the next, and how far its readings are apart.
const METRICS: [(Metric, u64, u64, u64); 4] = [
    (Metric::ProcessorBusyPermille, 200, 60, 100),
    (Metric::MemoryUsedKib, 2_400_000, 1_000, 400),
    (Metric::NetworkReceivedBytesPerSec, 3_000, 900, 1_500),
    (Metric::NetworkSentBytesPerSec, 1_200, 400, 600),
];

/// Bodies of `samples` samples each, the same in every run.
pub(crate) fn bodies(samples: usize) -> Vec<Bytes> {
    let mut chance = Chance::new(SEED);
    (0..BODIES).map(|_| body(samples, &mut chance)).collect()
}

/// Bytes of one sample in such a body.
pub(crate) fn mean_bytes(samples: usize) -> f64 {
    let bytes: usize = bodies(samples).iter().map(Bytes::len).sum();
    bytes as f64 / (BODIES * samples) as f64
}

fn body(samples: usize, chance: &mut Chance) -> Bytes {
    let ends: Vec<i64> = (1..).take(samples).map(|no| no * SAMPLE_MICROS).collect();
    let series = METRICS.map(|(metric, start, step, spread)| {
        let mut min = start;
        let values = (0..samples).map(|_| {
            min = min.saturating_sub(step / 2) + chance.within(0..step + 1);
            let mean = min + chance.within(0..spread);
            Some(Sample { min, mean, max: mean + chance.within(0..spread) })
        });
        Series { metric, item: String::new(), values: values.collect() }
    });
    encode(&ends, &series).encode_to_vec().into()
}
