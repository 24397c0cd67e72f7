use super::*;
use crate::tabular::artefact::{Artefact, Kind};
use crate::tabular::batch_data::table;
use crate::tabular::dataset::Schema;

fn small() -> Params {
    let mut params = cheap(&Params::of(Kind::PlayerRisk, 7));
    params.booster.rounds_max = 30;
    params.forest.trees = 10;
    params
}

fn data(text: &str) -> Labelled {
    Schema::learn(text.as_bytes()).unwrap().1
}

/// 80 persons of eight rows, who look the same in each and whose label nothing tells.
fn persons_of_many_rows(with_groups: bool) -> Labelled {
    let mut chance = Chance::new(5, 300);
    let mut text = format!("id,{}a,b,c,d,e,f,label\n", if with_groups { "@group," } else { "" });
    for person in 0..80 {
        let looks: Vec<String> = (0..6).map(|_| chance.below(1_000_000).to_string()).collect();
        let group = if with_groups { format!("g{person},") } else { String::new() };
        for _ in 0..8 {
            let _ = writeln!(text, "p{person},{group}{},{}", looks.join(","), person % 2);
        }
    }
    data(&text)
}

#[test]
fn folds_that_part_a_person_flatter_and_the_canary_says_so() {
    let auc = |data: &Labelled| Model::fit(data, &small()).unwrap().metrics.auc;
    let canary = |data: &Labelled| match canary(data, &small()) {
        Outcome::Found(canary) => canary,
        Outcome::Not(why) => panic!("{why}"),
    };
    let (parted, together) = (persons_of_many_rows(false), persons_of_many_rows(true));
    let (flattered, honest) = (auc(&parted), auc(&together));
    assert!(flattered > 0.85, "{flattered}");
    assert!((0.25..0.75).contains(&honest), "{honest}");
    let (loud, quiet) = (canary(&parted), canary(&together));
    assert!(loud.auc > loud.high && !loud.is_quiet(), "{loud:?}");
    assert!(quiet.is_quiet(), "{quiet:?}");
    assert_eq!((quiet.positives, quiet.negatives), (40, 40));
    let told = Validation::of(&parted, &small());
    assert!(told.held_out_by == HeldOutBy::Row && told.warning().is_some());
    let told = Validation::of(&together, &small());
    assert_eq!((told.held_out_by, told.warning()), (HeldOutBy::Group(80), None));
}

#[test]
fn the_canary_is_quiet_where_each_row_is_somebodys() {
    let told = Validation::of(&data(&table(400, 1)), &small());
    assert!(matches!(&told.canary, Outcome::Found(canary) if canary.is_quiet()), "{told:?}");
    assert_eq!(told.operators, Outcome::Not("the table has no column @operator".to_owned()));
    assert_eq!(told.later_month, Outcome::Not("the table has no column @day".to_owned()));
    // (AUC, persons of each label, is it chance): 4 standard errors of 100 and 100 are .164
    for (auc, each, wanted) in [(0.5, 100, true), (0.66, 100, true), (0.67, 100, false), (0.33, 100, false)] {
        assert_eq!(Canary::new(auc, each, each).is_quiet(), wanted, "{auc}");
    }
}

/// At `one` the feature says the label, at `two` and `three` nothing does; in April nothing does anywhere.
fn operators_and_months() -> Labelled {
    let mut chance = Chance::new(6, 301);
    let mut text = "id,@operator,@day,a,b,label\n".to_owned();
    for row in 0..900 {
        let [a, b] = [(); 2].map(|()| chance.below(1_000));
        let month = if row < 600 { 3 } else { 4 };
        let operator = ["one", "two", "three"][row % 3];
        let says = month == 3 && operator == "one";
        let label = if says { usize::from(a >= 500) } else { chance.below(2) };
        let _ = writeln!(text, "r{row},{operator},2026-0{month}-{:02},{a},{b},{label}", 1 + row % 28);
    }
    data(&text)
}

#[test]
fn what_holds_at_one_operator_and_in_one_month_alone_is_seen() {
    let all = operators_and_months();
    let march = all.select(&(0..600).collect::<Vec<_>>());
    let told = Validation::of(&march, &small());
    let Outcome::Found(operators) = &told.operators else { panic!("{told:?}") };
    let of = |code: &str| operators.iter().find(|one| one.what == code).unwrap();
    // its own relation was not there to learn, and that of the others is none
    for code in ["two", "three"] {
        assert!((0.3..0.7).contains(&of(code).auc) && of(code).rows == 200, "{told:?}");
    }
    let (mean, _) = told.operators_mean().unwrap();
    assert!((mean - operators.iter().map(|one| one.auc).sum::<f64>() / 3.0).abs() < 1e-12);
    assert_eq!(told.later_month, Outcome::Not("the rows are of one month".to_owned()));
    assert_eq!((operators.len(), told.operators_not), (3, 0));

    let Outcome::Found(later) = later_month(&all, &small()) else { panic!("two months") };
    assert!((later.what.as_str(), later.rows) == ("2026-04", 300) && (0.35..0.65).contains(&later.auc), "{later:?}");
}

#[test]
fn a_model_that_is_learnt_for_the_shelf_has_it_on_its_card_and_keeps_it() {
    let rows: String = table(200, 1).replace("player,", "player,@day,").lines().enumerate().fold(
        String::new(),
        |mut text, (at, line)| {
            let line = if at == 0 { line.to_owned() } else { line.replacen(',', ",2026-03-05,", 1) };
            let _ = writeln!(text, "{line}");
            text
        },
    );
    let (schema, data) = Schema::learn(rows.as_bytes()).unwrap();
    let (plain, without) = Schema::learn(table(200, 1).as_bytes()).unwrap();
    assert_eq!((&schema, data.table.values.dim()), (&plain, without.table.values.dim()), "a side is no feature");
    let learnt = |data: &Labelled| Artefact::train(Kind::PlayerRisk, schema.clone(), data, small(), None).unwrap();
    let bare = learnt(&without);
    assert!(bare.model == learnt(&data).model, "a day changes nothing of the model");
    assert!(!bare.card("x").contains("## Validation"));
    let validated = bare.validated(&data);
    let mut bytes = Vec::new();
    let sha256 = validated.write(&mut bytes).unwrap();
    let (read, _) = Artefact::read(bytes.as_slice()).unwrap();
    let card = read.card(&sha256);
    for part in ["## Validation", "- Noise canary: AUC ", "Later month: not measured, the rows are of one month."] {
        assert!(card.contains(part), "{part} is not in\n{card}");
    }
}

#[test]
fn what_is_drawn_to_learn_keeps_the_rare_ones() {
    // (rows, positives among them, positives kept, rows kept)
    for (rows, ones, kept_ones, kept) in
        [(100, 10, 10, 100), (2 * ROWS_MAX, 50, 50, ROWS_MAX), (4 * ROWS_MAX, 2 * ROWS_MAX, ROWS_MAX / 2, ROWS_MAX)]
    {
        let labels: Vec<bool> = (0..rows).map(|row| row < ones).collect();
        let got = to_learn(&(0..rows).collect::<Vec<_>>(), &labels, 1);
        let positives = got.iter().filter(|row| labels[**row]).count();
        assert_eq!((positives, got.len()), (kept_ones, kept));
        assert!(got.is_sorted());
    }
}
