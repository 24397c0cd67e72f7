//! On what scale a detector looks at a metric.
//!
//! Numbers of bets, and sums of them, vary with the square root of what is usual, and their falls have a bottom: what is
//! farthest below on an ordinary evening is more than all that a night has to lose, and a market of which three quarters are
//! gone would lie within what evenings do anyway. On roots every hour varies alike (Bartlett 1936), and a fall weighs as much
//! as a rise of the same share about. What is shown of it (what was expected, the band, reasons) is in the metric's unit.

use ml::anomaly::{Detector, Reason, ReasonKind, Verdict};
use models::alert::Metric;
use serde::{Deserialize, Serialize};

/// The scale of a metric's series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// The figure itself.
    Plain,
    /// The square root of what is never below nothing.
    Root,
    /// The square root with its sign.
    SignedRoot,
}

impl Scale {
    /// Of a metric: roots, but for a share.
    pub fn of(metric: Metric) -> Self {
        match metric {
            Metric::Hold => Self::Plain,
            Metric::GrossGamingRevenue => Self::SignedRoot,
            _ => Self::Root,
        }
    }

    /// A figure on the scale.
    pub fn bend(self, figure: f64) -> f64 {
        match self {
            Self::Plain => figure,
            Self::Root | Self::SignedRoot => figure.abs().sqrt().copysign(figure),
        }
    }

    /// The figure that lies there on the scale; nothing for what lies below it and cannot.
    pub fn straighten(self, bent: f64) -> f64 {
        match self {
            Self::Plain => bent,
            Self::Root => bent.max(0.0).powi(2),
            Self::SignedRoot => (bent * bent).copysign(bent),
        }
    }

    /// A verdict on the scale, in the metric's unit. Single differences and steps are those that they make around what was
    /// expected; of averages it is told what they are in the unit.
    pub fn told(self, verdict: Verdict, averages: &Averages) -> Verdict {
        let at = verdict.expected.unwrap_or_default();
        Verdict {
            expected: verdict.expected.map(|bent| self.straighten(bent)),
            band: verdict.band.map(|(low, high)| (self.straighten(low), self.straighten(high))),
            reasons: verdict.reasons.map(|reason| reason.map(|reason| self.reason(at, reason, averages))),
            ..verdict
        }
    }

    fn reason(self, at: f64, reason: Reason, averages: &Averages) -> Reason {
        let part = |low: f64, high: f64| self.straighten(high) - self.straighten(low);
        let size = |bent: f64| match reason.kind {
            ReasonKind::Above | ReasonKind::AboveForSome | ReasonKind::AboveForLong => part(at, at + bent),
            ReasonKind::Below | ReasonKind::BelowForSome | ReasonKind::BelowForLong => part(at - bent, at),
            ReasonKind::Restless => part(at - bent / 2.0, at + bent / 2.0),
            _ => bent,
        };
        match averages.of(reason.kind) {
            // the usual one in the proportion that both have on the scale
            Some(observed) => Reason { observed, usual: observed * reason.usual / reason.observed, ..reason },
            None => Reason { observed: size(reason.observed), usual: size(reason.usual), ..reason },
        }
    }
}

/// How far the last points of a series lie from what was expected of each on average, in the unit of the metric: over the two
/// longer spans of a detector, whose own averages lie on its scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Averages([f64; 2]);

impl Averages {
    /// Takes in the difference of a detector's newest point.
    pub fn push(&mut self, difference: f64, detector: &Detector) {
        for (mean, span) in self.0.iter_mut().zip(detector.params().spans) {
            *mean += (difference - *mean) / detector.points().min(u64::from(span)) as f64;
        }
    }

    /// Of what is said of an average; none where it lies on the other side in the unit, as that of a single large payout among
    /// hours that have fewer than usual.
    fn of(&self, kind: ReasonKind) -> Option<f64> {
        let [some, long] = self.0;
        let far = match kind {
            ReasonKind::AboveForSome => some,
            ReasonKind::BelowForSome => -some,
            ReasonKind::AboveForLong => long,
            ReasonKind::BelowForLong => -long,
            _ => return None,
        };
        (far > 0.0).then_some(far)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ml::anomaly::Params;
    use models::ts::{HOUR, Ts};

    fn verdict(kind: ReasonKind) -> Verdict {
        let reason = Reason { kind, surprise: 9.0, observed: 4.0, usual: 2.0 };
        Verdict {
            expected: Some(10.0),
            band: Some((-3.0, 12.0)),
            reasons: [Some(reason), None, None],
            ..Verdict::default()
        }
    }

    #[test]
    fn a_figure_comes_back_from_its_scale() {
        for metric in Metric::OF_RECORDS {
            for figure in [0.0, 1.0, -1.0, 250_000.0, -9e15] {
                let scale = Scale::of(*metric);
                let back = scale.straighten(scale.bend(figure));
                let wanted = if scale == Scale::Root { figure.max(0.0) } else { figure };
                assert!((back - wanted).abs() <= 1e-9 * figure.abs(), "{metric:?}: {figure} became {back}");
            }
        }
        let scales = [Metric::Hold, Metric::GrossGamingRevenue, Metric::Count].map(Scale::of);
        assert_eq!(scales, [Scale::Plain, Scale::SignedRoot, Scale::Root]);
        assert_eq!(
            scales.map(|scale| scale.bend(-9.0)),
            [-9.0, -3.0, -3.0],
            "a correction below nothing is lower, too"
        );
    }

    #[test]
    fn what_is_told_is_in_the_unit_of_the_metric() {
        let averages = Averages([-30.0, 12.0]);
        // seen so | the difference it says on roots around ten, and the usual one
        let table = [
            (ReasonKind::Above, (196.0 - 100.0, 144.0 - 100.0)),
            (ReasonKind::Below, (100.0 - 36.0, 100.0 - 64.0)),
            (ReasonKind::AboveForLong, (12.0, 6.0)),
            (ReasonKind::BelowForSome, (30.0, 15.0)),
            // lower in the unit: as one that lies so far above
            (ReasonKind::AboveForSome, (196.0 - 100.0, 144.0 - 100.0)),
            (ReasonKind::Restless, (144.0 - 64.0, 121.0 - 81.0)),
            (ReasonKind::Flat, (4.0, 2.0)),
            (ReasonKind::Shape, (4.0, 2.0)),
        ];
        for (kind, wanted) in table {
            for (scale, low) in [(Scale::Root, 0.0), (Scale::SignedRoot, -9.0)] {
                let told = scale.told(verdict(kind), &averages);
                let reason = told.reasons[0].unwrap();
                assert_eq!((reason.observed, reason.usual), wanted, "{kind:?}");
                assert_eq!((told.expected, told.band), (Some(100.0), Some((low, 144.0))), "{kind:?}");
            }
        }
        assert_eq!(Scale::Root.told(Verdict::default(), &averages), Verdict::default());
        // no more is missing than there was
        let far = Reason { kind: ReasonKind::Below, surprise: 9.0, observed: 40.0, usual: 2.0 };
        let fallen = Verdict { reasons: [Some(far), None, None], ..verdict(ReasonKind::Below) };
        let told = |scale: Scale| scale.told(fallen, &averages).reasons[0].unwrap().observed;
        assert_eq!((told(Scale::Root), told(Scale::SignedRoot), told(Scale::Plain)), (100.0, 1_000.0, 40.0));
    }

    #[test]
    fn averages_are_those_of_the_detector() {
        let (mut averages, mut detector) = (Averages::default(), Detector::new(Params::default()));
        let mut told = 0;
        for n in 0..600u32 {
            let value = f64::from(n % 7) + if n < 560 { 0.0 } else { 60.0 };
            let verdict = detector.observe(Ts(0).plus(i64::from(n) * HOUR), value);
            averages.push(value - verdict.expected.unwrap(), &detector);
            for reason in verdict.reasons.into_iter().flatten() {
                let plain = Scale::Plain.told(Verdict { reasons: [Some(reason), None, None], ..verdict }, &averages);
                let again = plain.reasons[0].unwrap();
                assert!((again.observed - reason.observed).abs() < 1e-6, "{n}: {again:?} of {reason:?}");
                assert!((again.usual - reason.usual).abs() < 1e-6, "{n}: {again:?} of {reason:?}");
                told += u32::from(averages.of(reason.kind).is_some());
            }
        }
        assert!(told > 10, "{told}");
    }
}
