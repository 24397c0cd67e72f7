use super::*;
use crate::tabular::artefact::Kind;
use crate::tabular::batch_data::{noise, table};
use crate::tabular::chance::Chance;
use crate::tabular::dataset::Schema;

fn small(kind: Kind) -> Params {
    let mut params = Params::of(kind, 7);
    params.bags = 1;
    params.booster.rounds_max = 40;
    params.forest.trees = 10;
    params.order = match params.order {
        Order::Shuffled(_) => Order::Shuffled(1),
        Order::InTime => Order::InTime,
    };
    params
}

fn data(text: &str) -> (Schema, Labelled) {
    Schema::learn(text.as_bytes()).unwrap()
}

#[test]
fn what_can_be_learnt_is_learnt_and_noise_is_not() {
    for kind in [Kind::TransactionRisk, Kind::PlayerRisk] {
        let (_, clear) = data(&table(600, 1));
        let fitted = Model::fit(&clear, &small(kind)).unwrap();
        let (_, later) = data(&table(600, 2));
        let (auc, _) = ranking(&fitted.model.scores(later.table.values.view()), &later.labels).unwrap();
        assert!(auc > 0.85 && fitted.metrics.auc > 0.85, "{kind:?}: {auc} {:?}", fitted.metrics);
        assert!((auc - fitted.metrics.auc).abs() < 0.06, "held-out rows say what other rows say");

        let (_, none) = data(&noise(600, 3));
        let canary = Model::fit(&none, &small(kind)).unwrap();
        assert!((canary.metrics.auc - 0.5).abs() < 0.08, "{kind:?}: {:?}", canary.metrics);
    }
}

#[test]
fn the_reasons_name_what_decides_and_add_up() {
    let (schema, clear) = data(&table(600, 1));
    let fitted = Model::fit(&clear, &small(Kind::PlayerRisk)).unwrap();
    let names = schema.features();
    let mut first = 0;
    for row in clear.table.values.rows() {
        let row = row.to_vec();
        let (parts, rest) = fitted.model.explain(&row);
        let sum = sigmoid(rest + parts.iter().sum::<f64>());
        assert!((sum - fitted.model.score(&row)).abs() < 1e-6, "{sum}");
        let reasons = fitted.model.reasons(&names, &row, 2);
        assert!(reasons.len() <= 2);
        first += usize::from(reasons.first().is_some_and(|(name, _)| name == "signal"));
    }
    assert!(first > 400, "{first} of 600");
}

#[test]
fn the_same_rows_and_seed_give_the_same_model() {
    let (_, clear) = data(&table(300, 1));
    let mut params = small(Kind::PlayerRisk);
    let (a, b) = (Model::fit(&clear, &params).unwrap(), Model::fit(&clear, &params).unwrap());
    assert_eq!((a.model.clone(), a.metrics), (b.model, b.metrics));
    params.seed += 1;
    assert_ne!(a.model, Model::fit(&clear, &params).unwrap().model);
}

#[test]
fn too_little_is_refused() {
    let few: String = (0..100).map(|i| format!("{i},{i},{}\n", u8::from(i < 9))).collect();
    let (_, few) = data(&format!("id,x,y\n{few}"));
    let refused = Model::fit(&few, &small(Kind::PlayerRisk)).unwrap_err();
    assert_eq!(refused, TrainError::TooFewRows { label: "positive".to_owned(), rows: 9 });
    let sorted: String = (0..100).map(|i| format!("{i},{i},{}\n", u8::from(i < 20))).collect();
    let (_, sorted) = data(&format!("id,x,y\n{sorted}"));
    let refused = Model::fit(&sorted, &small(Kind::TransactionRisk)).unwrap_err();
    assert_eq!(refused, TrainError::OneClassFold { from: 1, to: 34 });
    assert!(Model::fit(&sorted, &small(Kind::PlayerRisk)).is_ok(), "drawn folds have both");
}

#[test]
fn each_member_learns_by_itself_and_the_weightless_are_left_out() {
    use MemberKind::{Booster, Forest, Ftrl, Logistic, LogisticOfRanks};
    let (_, clear) = data(&table(600, 1));
    for kind in [Booster, Logistic, LogisticOfRanks, Ftrl, Forest] {
        let params = Params { members: vec![kind], ..small(Kind::PlayerRisk) };
        let fitted = Model::fit(&clear, &params).unwrap();
        assert!(fitted.metrics.auc > 0.8 && fitted.metrics.calibration_error < 0.1, "{kind:?}: {:?}", fitted.metrics);
    }
    let free = Params { members: vec![Logistic, Logistic, Ftrl], stack_l2: 0.0, ..small(Kind::PlayerRisk) };
    let fitted = Model::fit(&clear, &free).unwrap();
    let heard = fitted.members.iter().filter(|member| member.weight >= WEIGHT_MIN).count();
    assert_eq!(fitted.model.committee.members(), heard);
}

#[test]
fn ftrl_bends_where_a_line_cannot_and_says_which_feature() {
    let row = |i: usize| {
        let x = i as f64 / 600.0;
        format!("{i},{x},{},{}\n", i * 7 % 13, u8::from((0.3..0.7).contains(&x)))
    };
    let mut rows: Vec<String> = (0..600).map(row).collect();
    Chance::new(3, 60).shuffle(&mut rows);
    let (_, hill) = data(&format!("id,x,other,y\n{}", rows.concat()));
    let alone = |kind| {
        let mut params = Params { members: vec![kind], ..small(Kind::PlayerRisk) };
        // nothing made of pairs, that the curve must come from the member
        params.design.made_max = 0;
        Model::fit(&hill, &params).unwrap()
    };
    let (bent, line) = (alone(MemberKind::Ftrl), alone(MemberKind::Logistic));
    assert!(bent.metrics.auc > 0.9 && line.metrics.auc < 0.65, "{} {}", bent.metrics.auc, line.metrics.auc);
    for row in hill.table.values.rows() {
        let row = row.to_vec();
        let (parts, rest) = bent.model.explain(&row);
        assert_eq!(parts.len(), 2);
        assert!((sigmoid(rest + parts.iter().sum::<f64>()) - bent.model.score(&row)).abs() < 1e-9);
    }
    let means = bent.model.importance(&hill.table.values);
    assert!(means[0].0 > 3.0 * means[1].0, "{means:?}");
}
