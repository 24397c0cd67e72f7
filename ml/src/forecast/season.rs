//! Seasonal indices: found, judged, shrunk, shared, taken out and put back.
//!
//! Classical decomposition (centred moving average over one period), as in the theta method, with two changes. What the few
//! cycles of a series say about a phase is noisy: three years of weeks are three values a phase. So the indices are taken
//! apart into harmonics, and each harmonic is shrunk by the share of its energy that noise alone would give: a yearly wave
//! survives, the jitter of 52 averages of three does not, and a period of 12 and one of 52 need no different rules. (Miller
//! and Williams 2003 shrink all indices by one factor.) And series of one input mostly belong to one market: what a harmonic
//! is shrunk towards is the mean of all series, weighted by how sure each is, itself shrunk towards nothing.

use std::f64::consts::TAU;

/// How indices act on the level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Added to the level; sums to 0 over a period.
    Additive,
    /// Multiplied with the level; 1 on average over a period. Only for series of which no value is below zero.
    Multiplicative,
}

/// Indices of one period. Phase 0 is the phase of the first value.
#[derive(Clone, Debug, PartialEq)]
pub struct Season {
    kind: Kind,
    indices: Vec<f64>,
}

/// A series of a set, and the phase of its first value in a calendar common to the set.
#[derive(Clone, Copy, Debug)]
pub struct Phased<'a> {
    /// Values: finite, in order of time.
    pub values: &'a [f64],
    /// Phase of the first value.
    pub phase: usize,
}

/// Critical value of a two-sided test at 90 %.
const CRITICAL: f64 = 1.645;

/// Least a multiplicative index may be: a phase without any trade must not become a division by zero.
const INDEX_MIN: f64 = 0.01;

/// Periods from which on the shrinkage alone decides what is seasonal. With fewer, the noise within a phase is as good as
/// unknown and a drifting series looks seasonal, so the test of [`is_seasonal`] is asked first.
const PERIODS_TO_TRUST: usize = 3;

/// Share of a mean energy below which noise counts as none: keeps perfect series from weighing infinitely.
const NOISE_MIN: f64 = 1e-12;

impl Season {
    /// No season: a period of one.
    pub fn none() -> Self {
        Self { kind: Kind::Additive, indices: vec![0.0] }
    }

    /// Indices of one series by itself; see [`fit_all`].
    pub fn fit(values: &[f64], period: usize, kind: Kind) -> Option<Self> {
        fit_all(&[Phased { values, phase: 0 }], period, kind).pop().flatten()
    }

    /// Whether anything is seasonal here.
    pub fn is_none(&self) -> bool {
        self.indices.len() == 1
    }

    /// How the indices act.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Index of the phase of value number `position`, counted from the first value of the series.
    pub fn index(&self, position: usize) -> f64 {
        self.indices[position % self.indices.len()]
    }

    /// The series without its season.
    pub fn adjust(&self, values: &[f64]) -> Vec<f64> {
        let without = |(i, value): (usize, &f64)| match self.kind {
            Kind::Additive => value - self.index(i),
            Kind::Multiplicative => value / self.index(i),
        };
        values.iter().enumerate().map(without).collect()
    }

    /// Values from number `position` on, with the season put back.
    pub fn restore(&self, position: usize, values: &[f64]) -> Vec<f64> {
        let with = |(i, value): (usize, &f64)| match self.kind {
            Kind::Additive => value + self.index(position + i),
            Kind::Multiplicative => value * self.index(position + i),
        };
        values.iter().enumerate().map(with).collect()
    }
}

/// Whether the autocorrelation at the period is beyond what Bartlett's error allows at 90 % (Assimakopoulos and
/// Nikolopoulos 2000; Fiorucci et al. 2016).
pub fn is_seasonal(values: &[f64], period: usize) -> bool {
    if period < 2 || values.len() < 2 * period {
        return false;
    }
    let correlations = autocorrelations(values, period);
    let Some((at_period, before)) = correlations.split_last() else { return false };
    let squares: f64 = before.iter().map(|r| r * r).sum();
    at_period.abs() > CRITICAL * ((1.0 + 2.0 * squares) / values.len() as f64).sqrt()
}

/// Autocorrelations at lags 1 to `lags`; zeros for a constant.
fn autocorrelations(values: &[f64], lags: usize) -> Vec<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let centred: Vec<f64> = values.iter().map(|v| v - mean).collect();
    let variance: f64 = centred.iter().map(|v| v * v).sum();
    let at = |lag: usize| centred.iter().zip(&centred[lag.min(centred.len())..]).map(|(a, b)| a * b).sum::<f64>();
    (1..=lags).map(|lag| if variance > 0.0 { at(lag) / variance } else { 0.0 }).collect()
}

/// Centred moving average over one period; `None` at both ends.
fn trend(values: &[f64], period: usize) -> Vec<Option<f64>> {
    let half = period / 2;
    let at = |i: usize| {
        if i < half || i + half >= values.len() {
            return None;
        }
        let window = &values[i - half..=i + half];
        let sum: f64 = window.iter().sum();
        let ends = (window[0] + window[window.len() - 1]) / 2.0;
        Some(if period % 2 == 1 { sum } else { sum - ends } / period as f64)
    };
    (0..values.len()).map(at).collect()
}

/// Seasons of a set of series; where there is nothing to tell one from, [`Season::none`].
pub fn seasons(series: &[Phased], period: usize) -> Vec<Season> {
    let fitted = fit_all(series, period, Kind::Multiplicative);
    let judged = |(season, one): (Option<Season>, &Phased)| {
        let enough = one.values.len() >= PERIODS_TO_TRUST * period || is_seasonal(one.values, period);
        season.filter(|_| enough).unwrap_or_else(Season::none)
    };
    fitted.into_iter().zip(series).map(judged).collect()
}

/// Indices of each series of a set, harmonics shrunk towards their mean. Additive for a series with a value or a
/// trend below zero whatever is wanted. None for a series of fewer than two periods or without a level.
pub fn fit_all(series: &[Phased], period: usize, kind: Kind) -> Vec<Option<Season>> {
    let waves: Vec<Option<Waves>> = series.iter().map(|one| Waves::of(one, period, kind)).collect();
    let mut indices = vec![vec![0.0; period]; series.len()];
    for harmonic in 1..=period / 2 {
        let known: Vec<(usize, Wave)> = waves
            .iter()
            .enumerate()
            .filter_map(|(i, waves)| waves.as_ref().map(|w| (i, w.harmonics[harmonic - 1])))
            .collect();
        for (i, wave) in shrunk(&known) {
            wave.add_to(&mut indices[i], harmonic);
        }
    }
    let finished = |((waves, mut indices), one): ((&Option<Waves>, Vec<f64>), &Phased)| {
        let waves = waves.as_ref()?;
        indices.rotate_left(one.phase % period);
        match waves.kind {
            Kind::Additive => indices.iter_mut().for_each(|index| *index *= waves.level),
            Kind::Multiplicative => {
                indices.iter_mut().for_each(|index| *index = (1.0 + *index).max(INDEX_MIN));
                let mean = indices.iter().sum::<f64>() / period as f64;
                indices.iter_mut().for_each(|index| *index /= mean);
            }
        }
        Some(Season { kind: waves.kind, indices })
    };
    waves.iter().zip(indices).zip(series).map(finished).collect()
}

/// One harmonic of one series, scaled so that noise has the same variance in both parts and in every harmonic.
#[derive(Clone, Copy, Debug)]
struct Wave {
    cosine: f64,
    sine: f64,
    /// Variance that noise gives to each part.
    noise: f64,
    /// 2, or 1 for the last harmonic of an even period, which has no sine.
    parts: f64,
}

impl Wave {
    fn of(raw: &[f64], harmonic: usize, noise: f64) -> Self {
        let parts = if 2 * harmonic == raw.len() { 1.0 } else { 2.0 };
        let scale = (parts / raw.len() as f64).sqrt();
        let part = |of: fn(f64) -> f64| -> f64 {
            scale * raw.iter().enumerate().map(|(i, v)| v * of(angle(harmonic, i, raw.len()))).sum::<f64>()
        };
        Self { cosine: part(f64::cos), sine: if parts > 1.0 { part(f64::sin) } else { 0.0 }, noise, parts }
    }

    fn energy(&self) -> f64 {
        self.cosine * self.cosine + self.sine * self.sine
    }

    /// Share that is kept where noise alone would give so much.
    fn kept(&self) -> f64 {
        let by_noise = self.parts * self.noise;
        if self.energy() > by_noise { 1.0 - by_noise / self.energy() } else { 0.0 }
    }

    fn add_to(&self, indices: &mut [f64], harmonic: usize) {
        let period = indices.len();
        let scale = (self.parts / period as f64).sqrt();
        for (i, index) in indices.iter_mut().enumerate() {
            let angle = angle(harmonic, i, period);
            *index += scale * (self.cosine * angle.cos() + self.sine * angle.sin());
        }
    }
}

fn angle(harmonic: usize, phase: usize, period: usize) -> f64 {
    TAU * ((harmonic * phase) % period) as f64 / period as f64
}

/// Harmonics of one series in the common calendar, in shares of its level.
struct Waves {
    kind: Kind,
    level: f64,
    harmonics: Vec<Wave>,
}

impl Waves {
    fn of(one: &Phased, period: usize, wanted: Kind) -> Option<Self> {
        let of = |kind| deviations(one.values, period, kind).map(|by_phase| (kind, by_phase));
        let (kind, mut by_phase) = of(wanted).or_else(|| of(Kind::Additive))?;
        let level = match kind {
            Kind::Multiplicative => 1.0,
            Kind::Additive => one.values.iter().map(|v| v.abs()).sum::<f64>() / one.values.len() as f64,
        };
        if level <= 0.0 {
            return None;
        }
        by_phase.iter_mut().flatten().for_each(|deviation| *deviation /= level);
        by_phase.rotate_right(one.phase % period);
        let (raw, noise) = averages(&by_phase, period);
        let harmonics = (1..=period / 2).map(|harmonic| Wave::of(&raw, harmonic, noise)).collect();
        Some(Self { kind, level, harmonics })
    }
}

/// The same harmonic of several series, each shrunk towards their mean by two factors: how much it stands out of its own
/// noise, and how much the series differ beyond their noise at all. One series alone is its own mean.
fn shrunk(known: &[(usize, Wave)]) -> Vec<(usize, Wave)> {
    let count = known.len() as f64;
    let least = NOISE_MIN * known.iter().map(|(_, w)| w.energy()).sum::<f64>() / count + f64::MIN_POSITIVE;
    let noise = |wave: &Wave| wave.noise + least;
    let between = if known.len() > 1 { spread_between(known, least) } else { 0.0 };
    let weights: Vec<f64> = known.iter().map(|(_, wave)| 1.0 / (noise(wave) + between)).collect();
    let total: f64 = weights.iter().sum();
    let weighted = |part: fn(&Wave) -> f64| {
        known.iter().zip(&weights).map(|((_, wave), weight)| weight * part(wave)).sum::<f64>() / total
    };
    let parts = known.first().map_or(2.0, |(_, wave)| wave.parts);
    let mean = Wave { cosine: weighted(|w| w.cosine), sine: weighted(|w| w.sine), noise: 1.0 / total, parts };
    let kept = mean.kept();
    let one = |(i, wave): &(usize, Wave)| {
        let (cosine, sine) = (kept * mean.cosine, kept * mean.sine);
        let apart = Wave { cosine: wave.cosine - cosine, sine: wave.sine - sine, noise: noise(wave), parts };
        let own = if known.len() > 1 { apart.kept() * between / (between + noise(wave)) } else { 0.0 };
        (*i, Wave { cosine: cosine + own * apart.cosine, sine: sine + own * apart.sine, ..apart })
    };
    known.iter().map(one).collect()
}

/// Variance of a harmonic between series beyond what their noise gives, by moments.
fn spread_between(known: &[(usize, Wave)], least: f64) -> f64 {
    let count = known.len() as f64;
    let mean = |part: fn(&Wave) -> f64| known.iter().map(|(_, wave)| part(wave)).sum::<f64>() / count;
    let (cosine, sine) = (mean(|w| w.cosine), mean(|w| w.sine));
    let squares: f64 = known.iter().map(|(_, w)| (w.cosine - cosine).powi(2) + (w.sine - sine).powi(2)).sum();
    let parts = known[0].1.parts;
    (squares / (count - 1.0) / parts - mean(|w| w.noise) - least).max(0.0)
}

/// What each value is above its trend, by phase: differences, or ratios less one.
fn deviations(values: &[f64], period: usize, kind: Kind) -> Option<Vec<Vec<f64>>> {
    let negative = kind == Kind::Multiplicative && values.iter().any(|v| *v < 0.0);
    if period < 2 || values.len() < 2 * period || negative {
        return None;
    }
    let mut by_phase = vec![Vec::new(); period];
    for (i, (value, trend)) in values.iter().zip(trend(values, period)).enumerate() {
        let Some(trend) = trend else { continue };
        if kind == Kind::Multiplicative && trend <= 0.0 {
            return None;
        }
        by_phase[i % period].push(match kind {
            Kind::Additive => value - trend,
            Kind::Multiplicative => value / trend - 1.0,
        });
    }
    by_phase.iter().all(|phase| !phase.is_empty()).then_some(by_phase)
}

/// Mean of each phase, centred over the phases, and the variance that such a mean has from the values within its phase.
fn averages(by_phase: &[Vec<f64>], period: usize) -> (Vec<f64>, f64) {
    let means: Vec<f64> = by_phase.iter().map(|p| p.iter().sum::<f64>() / p.len() as f64).collect();
    let centre = means.iter().sum::<f64>() / period as f64;
    let (mut squares, mut freedom) = (0.0, 0.0);
    for (phase, mean) in by_phase.iter().zip(&means) {
        squares += phase.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
        freedom += (phase.len() - 1) as f64;
    }
    let variance = if freedom > 0.0 { squares / freedom } else { 0.0 };
    let noise = by_phase.iter().map(|phase| variance / phase.len() as f64).sum::<f64>() / period as f64;
    (means.iter().map(|mean| mean - centre).collect(), noise)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{close, noise};
    use super::*;

    #[test]
    fn a_season_without_noise_is_found_whole() {
        let wave = [3.0, -1.0, 0.0, -2.0];
        let values: Vec<f64> = (0..20).map(|i| 10.0 + 0.5 * i as f64 + wave[i % 4]).collect();
        let season = Season::fit(&values, 4, Kind::Additive).unwrap();
        assert!(close(&(0..4).map(|i| season.index(i)).collect::<Vec<_>>(), &wave));
        let straight: Vec<f64> = (0..20).map(|i| 10.0 + 0.5 * f64::from(i)).collect();
        assert!(close(&season.adjust(&values), &straight));
        assert!(close(&season.restore(0, &straight), &values));
        assert!(close(&season.restore(18, &[0.0, 0.0]), &[0.0, -2.0]), "phases go on behind the end");
        let wave = [1.5, 0.5, 1.2, 0.8];
        let values: Vec<f64> = (0..20).map(|i| 10.0 * wave[i % 4]).collect();
        let season = Season::fit(&values, 4, Kind::Multiplicative).unwrap();
        assert!(close(&(0..4).map(|i| season.index(i)).collect::<Vec<_>>(), &wave));
    }

    #[test]
    fn noise_is_shrunk_and_a_wave_is_kept() {
        let size = |values: &[f64]| {
            let season = Season::fit(values, 52, Kind::Additive).unwrap();
            ((0..52).map(|i| season.index(i).powi(2)).sum::<f64>() / 52.0).sqrt()
        };
        let e = noise(5, 156);
        let raw = {
            let by_phase = deviations(&e, 52, Kind::Additive).unwrap();
            let (means, _) = averages(&by_phase, 52);
            (means.iter().map(|v| v * v).sum::<f64>() / 52.0).sqrt()
        };
        assert!(size(&e) < 0.7 * raw, "{} of {raw}", size(&e));
        let wave: Vec<f64> = e.iter().enumerate().map(|(i, e)| 10.0 * (TAU * i as f64 / 52.0).sin() + e).collect();
        assert!((size(&wave) / (10.0 / 2f64.sqrt()) - 1.0).abs() < 0.05, "{}", size(&wave));
    }

    #[test]
    fn what_is_seasonal() {
        let e = noise(7, 72);
        let wave: Vec<f64> = e.iter().enumerate().map(|(i, e)| 2.0 * (TAU * i as f64 / 12.0).sin() + e).collect();
        assert!(is_seasonal(&wave, 12));
        assert!(!is_seasonal(&e, 12), "noise");
        assert!(!is_seasonal(&wave[..23], 12), "less than two periods");
        assert!(!is_seasonal(&[4.0; 48], 12), "a constant");
        assert!(!is_seasonal(&wave, 1), "no period");
    }

    #[test]
    fn where_there_are_no_indices() {
        assert_eq!(Season::fit(&[1.0; 7], 4, Kind::Additive), None, "less than two periods");
        let below = Season::fit(&[1.0, -1.0, 2.0, 3.0, 1.0, -1.0, 2.0, 3.0], 4, Kind::Multiplicative).unwrap();
        assert_eq!(below.kind(), Kind::Additive, "below zero nothing is multiplied");
        assert_eq!(Season::fit(&[0.0; 12], 4, Kind::Multiplicative), None, "no level");
        assert_eq!(Season::fit(&[1.0; 12], 1, Kind::Additive), None, "no period");
        let none = Season::none();
        assert_eq!((none.is_none(), none.adjust(&[1.0, 2.0])), (true, vec![1.0, 2.0]));
        let with_zeros: Vec<f64> = (0..24).map(|i| if i % 4 == 0 { 0.0 } else { 8.0 }).collect();
        let season = Season::fit(&with_zeros, 4, Kind::Multiplicative).unwrap();
        assert!(season.index(0) > 0.0 && season.index(0) < 0.02, "{season:?}");
    }
}
