//! On what scale a detector looks at a metric.
//!
//! Numbers of bets, and sums of them, vary with the square root of what is usual, and their falls have a bottom: what is
//! farthest below on an ordinary evening is more than all that a night has to lose, and a market of which three quarters are
//! gone would lie within what evenings do anyway. On roots every hour varies alike (Bartlett 1936), and a fall weighs as much
//! as a rise of the same share about. What is shown of it (what was expected, the band, reasons) is in the metric's unit.

use ml::anomaly::{Reason, ReasonKind, Verdict};
use models::alert::Metric;

/// The scale of a metric's series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// The figure itself.
    Plain,
    /// Its square root, with its sign.
    Root,
}

impl Scale {
    /// Of a metric: roots, but for a share.
    pub fn of(metric: Metric) -> Self {
        if metric == Metric::Hold { Self::Plain } else { Self::Root }
    }

    /// A figure on the scale.
    pub fn bend(self, figure: f64) -> f64 {
        match self {
            Self::Plain => figure,
            Self::Root => figure.abs().sqrt().copysign(figure),
        }
    }

    /// The figure that lies there on the scale.
    pub fn straighten(self, bent: f64) -> f64 {
        match self {
            Self::Plain => bent,
            Self::Root => (bent * bent).copysign(bent),
        }
    }

    /// A verdict on the scale, in the metric's unit. Differences and steps are those that they make around what was expected.
    pub fn told(self, verdict: Verdict) -> Verdict {
        let at = verdict.expected.unwrap_or_default();
        Verdict {
            expected: verdict.expected.map(|bent| self.straighten(bent)),
            band: verdict.band.map(|(low, high)| (self.straighten(low), self.straighten(high))),
            reasons: verdict.reasons.map(|reason| reason.map(|reason| self.reason(at, reason))),
            ..verdict
        }
    }

    fn reason(self, at: f64, reason: Reason) -> Reason {
        let part = |low: f64, high: f64| self.straighten(high) - self.straighten(low);
        let size = |bent: f64| match reason.kind {
            ReasonKind::Above | ReasonKind::AboveForSome | ReasonKind::AboveForLong => part(at, at + bent),
            ReasonKind::Below | ReasonKind::BelowForSome | ReasonKind::BelowForLong => part(at - bent, at),
            ReasonKind::Restless => part(at - bent / 2.0, at + bent / 2.0),
            ReasonKind::Flat | ReasonKind::Shape => bent,
        };
        Reason { observed: size(reason.observed), usual: size(reason.usual), ..reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
                assert!((back - figure).abs() <= 1e-9 * figure.abs(), "{metric:?}: {figure} became {back}");
            }
        }
        assert_eq!((Scale::of(Metric::Hold), Scale::of(Metric::Count)), (Scale::Plain, Scale::Root));
        assert_eq!((Scale::Root.bend(-9.0), Scale::Plain.bend(-9.0)), (-3.0, -9.0));
    }

    #[test]
    fn what_is_told_is_in_the_unit_of_the_metric() {
        // seen so | the difference it says on roots around ten, and the usual one
        let table = [
            (ReasonKind::Above, (196.0 - 100.0, 144.0 - 100.0)),
            (ReasonKind::AboveForLong, (96.0, 44.0)),
            (ReasonKind::Below, (100.0 - 36.0, 100.0 - 64.0)),
            (ReasonKind::BelowForSome, (64.0, 36.0)),
            (ReasonKind::Restless, (144.0 - 64.0, 121.0 - 81.0)),
            (ReasonKind::Flat, (4.0, 2.0)),
            (ReasonKind::Shape, (4.0, 2.0)),
        ];
        for (kind, wanted) in table {
            let told = Scale::Root.told(verdict(kind));
            let reason = told.reasons[0].unwrap();
            assert_eq!((reason.observed, reason.usual), wanted, "{kind:?}");
            assert_eq!((told.expected, told.band), (Some(100.0), Some((-9.0, 144.0))), "{kind:?}");
            assert_eq!(Scale::Plain.told(verdict(kind)), verdict(kind), "as it is");
        }
        assert_eq!(Scale::Root.told(Verdict::default()), Verdict::default());
    }
}
