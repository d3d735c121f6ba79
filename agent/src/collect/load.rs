//! Measured numbers over time: readings become samples, samples become a frame.
//!
//! A reading is taken every few seconds. Counters become rates by the difference to the reading before over
//! the monotonic time between; where the counter went backwards, or the interface was not there before, that
//! span is unknown. A sample holds the least, the mean and the greatest of its readings; the mean of a rate is
//! weighted by the spans, so that it is the whole difference over the whole time. A frame holds all samples
//! since the frame before.

use std::time::Duration;

use bbt_proto::report::v1::{self as wire, Metric};

use crate::{
    platform::{Load, Now, Platform},
    report::samples::{Sample, Series, encode},
};

/// Samples kept while nobody takes a frame: half a day at one a minute. The oldest go first.
const MAX_SAMPLES: usize = 720;
/// Interfaces and disks that are measured; a PC has a handful.
const MAX_SERIES: usize = 64;
const MICROS_PER_SEC: u128 = 1_000_000;

/// See the head of the module.
#[derive(Debug, Default)]
pub struct Sampler {
    before: Option<(i64, Load)>,
    /// The end of each sample of the next frame, on the monotonic clock.
    ends: Vec<i64>,
    columns: Vec<Column>,
}

/// One series and what its next sample has so far.
#[derive(Debug)]
struct Column {
    series: Series,
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    min: u64,
    max: u64,
    weighted_sum: u128,
    weight: u128,
}

impl Sampler {
    /// Nothing measured yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a reading.
    pub fn tick(&mut self, platform: &dyn Platform) {
        let load = platform.load();
        let mono_micros = platform.now().mono_micros;
        self.level(Metric::MemoryUsedKib, load.memory_used_bytes.map(|bytes| bytes >> 10));
        self.level(Metric::SwapUsedKib, load.swap_used_bytes.map(|bytes| bytes >> 10));
        if let Some((before_micros, before)) = self.before.take()
            && let Ok(span @ 1..) = u64::try_from(mono_micros.saturating_sub(before_micros))
        {
            if let Some(busy) = load.processor_busy_permille {
                self.add(Metric::ProcessorBusyPermille, "", busy, span);
            }
            let network = (Metric::NetworkReceivedBytesPerSec, Metric::NetworkSentBytesPerSec);
            self.rates(network, &before.network, &load.network, span);
            let disks = (Metric::DiskReadBytesPerSec, Metric::DiskWrittenBytesPerSec);
            self.rates(disks, &before.disks, &load.disks, span);
        }
        self.before = Some((mono_micros, load));
    }

    /// Adds how long the way to the gateway and to the controller took; absent ones are unknown.
    pub fn round_trip(&mut self, gateway: Option<Duration>, controller: Option<Duration>) {
        let micros = |took: Option<Duration>| took.and_then(|took| u64::try_from(took.as_micros()).ok());
        self.level(Metric::GatewayRoundTripMicros, micros(gateway));
        self.level(Metric::ControllerRoundTripMicros, micros(controller));
    }

    /// Ends the sample that the readings since the one before belong to.
    pub fn close_sample(&mut self, now: Now) {
        if self.columns.is_empty() {
            return;
        }
        if self.ends.len() == MAX_SAMPLES {
            self.ends.remove(0);
            for column in &mut self.columns {
                column.series.values.remove(0);
            }
        }
        self.ends.push(now.mono_micros);
        for column in &mut self.columns {
            column.series.values.push(column.open.take().map(Open::close));
        }
    }

    /// All samples since the frame before; `None` if there are none.
    pub fn take_frame(&mut self) -> Option<wire::Samples> {
        // What had no value in a whole frame is gone; it comes back with its next reading.
        self.columns
            .retain(|column| column.open.is_some() || column.series.values.iter().any(Option::is_some));
        let ends = std::mem::take(&mut self.ends);
        let taken: Vec<Series> = self.columns.iter_mut().map(|column| column.series.take()).collect();
        (!ends.is_empty()).then(|| encode(&ends, &taken))
    }

    fn level(&mut self, metric: Metric, value: Option<u64>) {
        if let Some(value) = value {
            self.add(metric, "", value, 1);
        }
    }

    fn rates(
        &mut self,
        metrics: (Metric, Metric),
        before: &[Counters],
        after: &[Counters],
        span_micros: u64,
    ) {
        let rate = |before: u64, after: u64| {
            let difference = u128::from(after.checked_sub(before)?);
            u64::try_from(difference * MICROS_PER_SEC / u128::from(span_micros)).ok()
        };
        for (name, one, other) in after {
            let Some((_, one_before, other_before)) = before.iter().find(|(known, ..)| known == name) else {
                continue;
            };
            // One counter that went backwards means that both began anew.
            if let (Some(one), Some(other)) = (rate(*one_before, *one), rate(*other_before, *other)) {
                self.add(metrics.0, name, one, span_micros);
                self.add(metrics.1, name, other, span_micros);
            }
        }
    }

    fn add(&mut self, metric: Metric, item: &str, value: u64, weight: u64) {
        let known = self
            .columns
            .iter()
            .position(|column| column.series.metric == metric && column.series.item == item);
        let index = match known {
            Some(index) => index,
            None if self.columns.len() < MAX_SERIES => {
                let values = vec![None; self.ends.len()];
                let series = Series { metric, item: item.to_owned(), values };
                self.columns.push(Column { series, open: None });
                self.columns.len() - 1
            }
            None => return,
        };
        let open = self.columns[index].open.get_or_insert(Open {
            min: value,
            max: value,
            weighted_sum: 0,
            weight: 0,
        });
        open.min = open.min.min(value);
        open.max = open.max.max(value);
        open.weighted_sum = open.weighted_sum.saturating_add(u128::from(value) * u128::from(weight));
        open.weight = open.weight.saturating_add(u128::from(weight));
    }
}

/// Name and two counters that only rise.
type Counters = (String, u64, u64);

impl Open {
    fn close(self) -> Sample {
        let mean = self.weighted_sum.checked_div(self.weight).and_then(|mean| u64::try_from(mean).ok());
        Sample { min: self.min, mean: mean.unwrap_or(self.max).clamp(self.min, self.max), max: self.max }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        platform::{Roots, fake::FakePlatform},
        report::samples::decode,
    };

    const TICK: Duration = Duration::from_secs(15);

    fn fake() -> FakePlatform {
        FakePlatform::new(Roots::under(Path::new("/nowhere")), 1)
    }

    fn series(frame: &wire::Samples, metric: Metric) -> Option<Vec<Option<Sample>>> {
        let decoded = decode(frame).unwrap();
        decoded.series.into_iter().find(|series| series.metric == metric).map(|series| series.values)
    }

    fn network(received: u64) -> Load {
        Load { network: vec![("eth0".into(), received, received)], ..Load::default() }
    }

    fn read(sampler: &mut Sampler, platform: &FakePlatform, load: Load) {
        platform.set_load(load);
        sampler.tick(platform);
        platform.advance(TICK);
    }

    #[test]
    fn levels_become_least_mean_and_greatest() {
        let (platform, mut sampler) = (fake(), Sampler::new());
        for kib in [10, 40, 25] {
            read(&mut sampler, &platform, Load { memory_used_bytes: Some(kib << 10), ..Load::default() });
        }
        sampler.close_sample(platform.now());
        let frame = sampler.take_frame().unwrap();
        assert_eq!(frame.mono_micros, [platform.now().mono_micros]);
        let values = series(&frame, Metric::MemoryUsedKib).unwrap();
        assert_eq!(values, [Some(Sample { min: 10, mean: 25, max: 40 })]);
        assert_eq!(series(&frame, Metric::SwapUsedKib), None, "unknown is absent");
        assert_eq!(sampler.take_frame(), None);
    }

    #[test]
    fn counters_become_rates_over_monotonic_time() {
        let (platform, mut sampler) = (fake(), Sampler::new());
        read(&mut sampler, &platform, network(1_000));
        let now = platform.now();
        platform.set_now(Now { wall_micros: 0, ..now });
        read(&mut sampler, &platform, network(1_000 + 150));
        read(&mut sampler, &platform, network(1_150 + 450));
        sampler.close_sample(platform.now());
        let values = series(&sampler.take_frame().unwrap(), Metric::NetworkReceivedBytesPerSec).unwrap();
        assert_eq!(values, [Some(Sample { min: 10, mean: 20, max: 30 })]);
    }

    #[test]
    fn a_counter_that_went_backwards_leaves_its_span_unknown() {
        let (platform, mut sampler) = (fake(), Sampler::new());
        for received in [9_000, 9_150] {
            read(&mut sampler, &platform, network(received));
        }
        sampler.close_sample(platform.now());
        read(&mut sampler, &platform, network(5));
        sampler.close_sample(platform.now());
        read(&mut sampler, &platform, network(155));
        sampler.close_sample(platform.now());
        let values = series(&sampler.take_frame().unwrap(), Metric::NetworkReceivedBytesPerSec).unwrap();
        let ten = Some(Sample { min: 10, mean: 10, max: 10 });
        assert_eq!(values, [ten, None, ten]);
    }

    #[test]
    fn an_interface_that_appears_is_unknown_before() {
        let (platform, mut sampler) = (fake(), Sampler::new());
        let idle = Load { swap_used_bytes: Some(0), ..Load::default() };
        read(&mut sampler, &platform, idle);
        sampler.close_sample(platform.now());
        read(&mut sampler, &platform, network(700));
        read(&mut sampler, &platform, network(700));
        sampler.close_sample(platform.now());
        let values = series(&sampler.take_frame().unwrap(), Metric::NetworkSentBytesPerSec).unwrap();
        assert_eq!(values, [None, Some(Sample { min: 0, mean: 0, max: 0 })], "zero is known, absent is not");
    }

    #[test]
    fn the_mean_of_a_rate_is_the_whole_difference_over_the_whole_time() {
        let (platform, mut sampler) = (fake(), Sampler::new());
        read(&mut sampler, &platform, network(0));
        platform.advance(TICK * 3);
        read(&mut sampler, &platform, network(600));
        read(&mut sampler, &platform, network(600 + 900));
        sampler.close_sample(platform.now());
        let values = series(&sampler.take_frame().unwrap(), Metric::NetworkReceivedBytesPerSec).unwrap();
        assert_eq!(values, [Some(Sample { min: 10, mean: 20, max: 60 })]);
    }

    #[test]
    fn round_trips_are_part_of_the_sample_and_absent_when_unknown() {
        let mut sampler = Sampler::new();
        sampler.round_trip(Some(Duration::from_micros(350)), None);
        sampler.close_sample(fake().now());
        let frame = sampler.take_frame().unwrap();
        assert_eq!(frame.columns.len(), 1);
        assert_eq!(frame.columns[0].metric(), Metric::GatewayRoundTripMicros);
    }

    #[test]
    fn samples_that_nobody_takes_are_bounded() {
        let (platform, mut sampler) = (fake(), Sampler::new());
        for kib in 0..MAX_SAMPLES as u64 + 5 {
            read(&mut sampler, &platform, Load { memory_used_bytes: Some(kib << 10), ..Load::default() });
            sampler.close_sample(platform.now());
        }
        let values = series(&sampler.take_frame().unwrap(), Metric::MemoryUsedKib).unwrap();
        assert_eq!(values.len(), MAX_SAMPLES);
        assert_eq!(values[0], Some(Sample { min: 5, mean: 5, max: 5 }), "the oldest went first");
    }
}
